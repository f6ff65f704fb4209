"""Other gateways under the same load, each in an environment of its own under bench/.peers, hash-locked."""
