"""A synthetic piece of French countryside and a small model of it: all of Landweave without any download.

It uses Landweave's public names only.
"""

from landweave_demo.data import DemoData, make_demo_data
from landweave_demo.demo import run_demo
from landweave_demo.landscape.land_use import CROP_CODES, SEASONAL
from landweave_demo.report import DemoReport

__all__ = ["CROP_CODES", "SEASONAL", "DemoData", "DemoReport", "make_demo_data", "run_demo"]
