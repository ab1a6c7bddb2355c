use super::{Reaction, SeenRequest, respond};

/// A script that does the reactions one after the other, one for each request, in the order the heads come.
///
/// A request beyond the last one panics in the server's task: the message is printed, and the connection closes.
///
/// ```
/// use stonework::testing::{Reaction, ScriptedServer, in_order, respond};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let server = ScriptedServer::start(in_order([
///     Reaction::read_all_then_close(),
///     respond(503).header("retry-after", "0").keep_alive(),
///     respond(200).keep_alive(),
/// ]))
/// .await;
/// # drop(server);
/// # }
/// ```
pub fn in_order(
    reactions: impl IntoIterator<Item = Reaction>,
) -> impl FnMut(&SeenRequest) -> Reaction + Send + 'static {
    let reactions: Vec<_> = reactions.into_iter().collect();
    let mut next = 0;
    move |request| {
        let planned = reactions.len();
        let Some(reaction) = reactions.get(next) else {
            panic!("request {} came ({request}), but the script has only {planned} reactions", request.number)
        };
        next += 1;
        reaction.clone()
    }
}

/// The keep-alive race: on each connection the first request is answered with an empty 200 and the connection stays
/// open; it closes as the head of the second request arrives, unanswered.
///
/// See [`ScriptedServer`](super::ScriptedServer) for an example.
pub fn close_on_next_head() -> impl FnMut(&SeenRequest) -> Reaction + Send + 'static {
    |request| {
        if request.on_connection == 1 { respond(200).keep_alive() } else { Reaction::close_on_head() }
    }
}
