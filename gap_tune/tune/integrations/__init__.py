"""Other frameworks: Lightning, Hugging Face and Ray Tune's class trainables."""
