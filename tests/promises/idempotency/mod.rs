mod agreement;
mod conformance;
mod crashes;
mod detached;
mod ends;
mod kit;
mod layer;
mod sockets;
