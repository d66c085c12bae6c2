"""What a device does differently: the kernels it takes and the memory they need."""
