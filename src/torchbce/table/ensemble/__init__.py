"""Members trained side by side, each on other rows; the best epoch, the blend with trees, calibration."""
