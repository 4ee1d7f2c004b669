//! The node agent: installs the programs and makes the node ready.
