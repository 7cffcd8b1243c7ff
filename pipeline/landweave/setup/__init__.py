"""From a configuration to checked objects: sources opened, the card compared, every setting resolved once."""
