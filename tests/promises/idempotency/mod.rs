mod agreement;
mod conformance;
mod crashes;
mod kit;
mod layer;
mod sockets;
