"""What tests of several rooms share; README.md beside this says which module is for what."""
