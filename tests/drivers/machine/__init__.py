"""A virtual machine with the kernel's own drivers, without root and without KVM."""
