mod agreement;
mod conformance;
