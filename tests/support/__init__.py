"""What tests of several rooms share; README.md beside it says which to take when."""
