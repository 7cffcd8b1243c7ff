"""Where pixels come from: each kind of delivery, opened from its headers, read on any grid."""
