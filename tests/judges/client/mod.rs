//! The client, judged by servers that others wrote: nginx, haproxy, Python's h2, Node.
//!
//! Each is asked by many callers while it closes connections, says goodbye, or is replaced; and each writes down which pieces of work it
//! has done, so that "not sent", "refused" and "nobody knows" can be compared with what was done.

mod h2;
mod haproxy;
mod kit;
mod nginx;
mod node;
