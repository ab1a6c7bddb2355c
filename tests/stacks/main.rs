//! Layers in stacks as they are really built: over other people's clients, under other people's servers, between other
//! people's layers, and in tasks and combinators that do odd things to futures.

mod balance;
mod foreign;
mod grpc;
mod health;
mod kit;
mod limits;
mod nesting;
mod over_each;
mod over_hyper;
mod over_reqwest;
mod over_tonic;
mod placements;
mod timers;
mod under_axum;
