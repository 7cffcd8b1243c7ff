import numpy as np

from landweave.sources.border_noise import FLOOR, NEAR, border_noise


def test_only_the_void_around_a_swath_makes_noise_of_small_numbers() -> None:
    power = np.full((80, 200), 0.05, np.float32)
    power[:, :40] = 0  # the void
    power[:, 40:44] = FLOOR / 3  # its fringe
    power[30:50, 120:140] = FLOOR / 2  # still water
    power[40, 130] = 0  # with a hole in it
    noise = border_noise(power, power > 0)
    expected = np.zeros_like(noise)
    expected[:, 40:44] = True
    np.testing.assert_array_equal(noise, expected)
    far = np.roll(power, NEAR, axis=1)[:, NEAR:]
    np.testing.assert_array_equal(border_noise(far, far > 0), expected[:, : 200 - NEAR])
    assert not border_noise(power, np.ones_like(noise)).any()
