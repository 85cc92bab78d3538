"""TFLite models as C++ sources for microcontrollers, with the memory they need and the operators they use."""
