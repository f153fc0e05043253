"""The stacks on this machine: `make run`, `make up-native`, `make up`."""
