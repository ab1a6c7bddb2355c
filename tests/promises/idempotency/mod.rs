mod conformance;
mod kit;
mod layer;
