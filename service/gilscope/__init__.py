"""gilscope: should this function run on the event loop, in threads, in processes or in subinterpreters?"""

__version__ = "0.1.0"
