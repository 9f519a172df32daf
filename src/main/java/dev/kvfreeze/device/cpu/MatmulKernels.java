package dev.kvfreeze.device.cpu;

/** Matrix products over packed weights; one implementation with vectors and its scalar twin. */
interface MatmulKernels {}
