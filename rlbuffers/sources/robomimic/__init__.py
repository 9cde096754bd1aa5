"""robomimic HDF5 files, and those of MimicGen and Isaac Lab."""
