//! A chat in which all hear what one says, over WebSockets.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, StatusCode};
use stonework::server::Shutdown;
use tokio::sync::broadcast::{self, Receiver, error::RecvError};

/// Whoever hears so much later than the others misses something.
const BEHIND: usize = 64;
/// What those who come are told.
const KEPT: usize = 20;
/// Of one message, in letters.
const LONGEST: usize = 500;

#[derive(Clone)]
pub(crate) struct Chat(Arc<Shared>);

struct Shared {
    said: broadcast::Sender<String>,
    /// What was said last. Locked while something is said, so that whoever comes hears each thing once.
    last: Mutex<VecDeque<String>>,
    people: AtomicUsize,
    came: AtomicUsize,
}

impl Default for Chat {
    fn default() -> Self {
        let (people, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Shared { said: broadcast::Sender::new(BEHIND), last: Mutex::default(), people, came }))
    }
}

impl Chat {
    pub(crate) fn people(&self) -> usize {
        self.0.people.load(Ordering::Relaxed)
    }

    fn say(&self, who: &str, text: &str) {
        let text: String = text.chars().take(LONGEST).collect();
        let said = serde_json::json!({ "who": who, "text": text }).to_string();
        let mut last = self.0.last.lock().unwrap();
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(said.clone());
        // Nobody may be there.
        let _ = self.0.said.send(said);
    }

    fn listen(&self) -> (Vec<String>, Receiver<String>) {
        let last = self.0.last.lock().unwrap();
        (last.iter().cloned().collect(), self.0.said.subscribe())
    }
}

/// In the chat, until this is dropped.
struct Present(Chat);

impl Present {
    fn enter(chat: Chat) -> Self {
        chat.0.people.fetch_add(1, Ordering::Relaxed);
        Self(chat)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.0.people.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) async fn join(
    State(chat): State<Chat>,
    Extension(shutdown): Extension<Shutdown>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Browsers let any page open a WebSocket to anywhere, and say which one it was.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()?.split("://").nth(1));
    if headers.contains_key(ORIGIN) && origin != host {
        return StatusCode::FORBIDDEN.into_response();
    }
    upgrade.max_message_size(16 * 1024).on_upgrade(move |socket| talk(socket, chat, shutdown))
}

async fn talk(mut socket: WebSocket, chat: Chat, shutdown: Shutdown) {
    let chat = Present::enter(chat);
    let me = format!("guest {}", 1 + chat.0.0.came.fetch_add(1, Ordering::Relaxed));
    let (last, mut said) = chat.0.listen();
    let greeting = serde_json::json!({ "you": me }).to_string();
    for text in std::iter::once(greeting).chain(last) {
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
    loop {
        tokio::select! {
            () = shutdown.requested() => {
                let _ = socket.send(Message::Close(None)).await;
                return;
            }
            heard = said.recv() => match heard {
                Ok(text) => if socket.send(Message::text(text)).await.is_err() { return },
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) if !text.trim().is_empty() => chat.0.say(&me, text.trim()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}
