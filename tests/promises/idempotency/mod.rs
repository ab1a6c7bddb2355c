mod agreement;
mod conformance;
mod crashes;
mod detached;
mod kit;
mod layer;
mod sockets;
