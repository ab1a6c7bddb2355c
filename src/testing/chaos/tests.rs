use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Counts, Direction, Faults, What, Wire, WireStream};
use crate::base::Ratio;

const MS: Duration = Duration::from_millis(1);
const ALWAYS: Ratio = Ratio::percent(100);

/// A connection over a wire of its own.
async fn connected(faults: Faults) -> (Wire, WireStream, WireStream) {
    let wire = Wire::new(1, faults);
    let mut accepted = wire.listen();
    let ours = wire.connect().await.expect("it is made");
    let theirs = accepted.recv().await.expect("it was made");
    (wire, ours, theirs)
}

#[tokio::test(start_paused = true)]
async fn everything_arrives_in_order_and_takes_its_time() {
    let (wire, mut ours, mut theirs) = connected(Faults::none().latency(40 * MS).bandwidth(1_000)).await;
    let start = Instant::now();
    ours.write_all(&[1; 100]).await.unwrap();
    ours.write_all(&[2; 50]).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "the system takes it");
    let mut read = [0; 150];
    theirs.read_exact(&mut read[..100]).await.unwrap();
    assert_eq!(start.elapsed(), 140 * MS, "100 ms for the bytes, 40 for the way");
    theirs.read_exact(&mut read[100..]).await.unwrap();
    assert_eq!(start.elapsed(), 190 * MS);
    assert_eq!((&read[..100], &read[100..]), (&[1; 100][..], &[2; 50][..]));
    ours.shutdown().await.unwrap();
    assert_eq!(theirs.read(&mut read).await.unwrap(), 0);
    assert_eq!(start.elapsed(), 230 * MS);
    assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    theirs.write_all(b"back").await.unwrap();
    drop(theirs);
    ours.read_exact(&mut read[..4]).await.unwrap();
    drop(ours);
    let Counts { dialed, made, open, bytes, .. } = wire.counts();
    assert_eq!((dialed, made, open, bytes), (1, 1, 0, 154));
}

#[tokio::test(start_paused = true)]
async fn slices_and_jitter_change_when_bytes_come_and_not_which() {
    let (_, mut ours, mut theirs) = connected(Faults::none().jitter(9 * MS).slices(7)).await;
    let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let copy = sent.clone();
    tokio::spawn(async move {
        ours.write_all(&copy).await.unwrap();
        ours.shutdown().await.unwrap();
        // Until the other end has read all of it.
        let _ = ours.read(&mut [0]).await;
    });
    let (mut read, mut buffer, mut most) = (Vec::new(), [0; 64], 0);
    loop {
        let some = theirs.read(&mut buffer).await.unwrap();
        if some == 0 {
            break;
        }
        most = most.max(some);
        read.extend_from_slice(&buffer[..some]);
    }
    assert!(read == sent && most == 7, "{} bytes, up to {most}", read.len());
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_learnt_by_both_ends_and_what_was_under_way_is_lost() {
    let faults = Faults::none().latency(10 * MS).resets(ALWAYS).within(0);
    let (wire, mut ours, mut theirs) = connected(faults).await;
    // In one of the directions at once; nothing has gone wrong in the other one before.
    let _ = ours.write(b"up").await;
    let _ = theirs.write(b"down").await;
    sleep(11 * MS).await;
    for end in [&mut ours, &mut theirs] {
        assert_eq!(end.read(&mut [0; 4]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(end.write(b"more").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(wire.counts().resets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_direction_that_fell_silent_loses_everything_and_its_writer_stalls_in_the_end() {
    // By its number, each connection has a direction that is drawn: until both were seen.
    let wire = Wire::new(1, Faults::none().silences(ALWAYS).within(0));
    let mut accepted = wire.listen();
    let mut seen = Vec::new();
    while !(seen.contains(&Direction::Up) && seen.contains(&Direction::Down)) {
        let mut ours = wire.connect().await.unwrap();
        let mut theirs = accepted.recv().await.unwrap();
        let _ = ours.write(b"x").await.unwrap();
        let _ = theirs.write(b"x").await.unwrap();
        let Some(What::Silenced(direction, 0)) = wire.happenings().last().map(|last| last.what) else {
            panic!("{:?}", wire.happenings());
        };
        seen.push(direction);
        let (mut deaf, mut hears) = if direction == Direction::Up { (theirs, ours) } else { (ours, theirs) };
        assert_eq!(hears.read(&mut [0; 9]).await.unwrap(), 1, "the other one goes on");
        let hour = Duration::from_secs(3600);
        assert!(timeout(hour, deaf.read(&mut [0; 9])).await.is_err());
        assert!(timeout(hour, hears.write_all(&[0; 70_000])).await.is_err(), "nobody makes room");
        drop(hears);
        assert!(timeout(hour, deaf.read(&mut [0; 9])).await.is_err(), "its end is lost, too");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_what_is_read_is_the_beginning_of_what_was_written() {
    let sent: Vec<u8> = (0..2_000_u32).map(|n| (n % 251) as u8).collect();
    let mut cut_off = 0;
    for seed in 0..200 {
        let often = Ratio::percent(40);
        let faults = Faults::default().slices(50).resets(often).silences(often).refusals(Ratio::percent(0));
        let wire = Wire::new(seed, faults.hangs(Ratio::percent(0)).within(2_000));
        let mut accepted = wire.listen();
        let (mut from, mut to) = (wire.connect().await.unwrap(), accepted.recv().await.unwrap());
        let (mut read, mut rest) = (Vec::new(), &sent[..]);
        // Small, and with time in between, so that some of it is written before a reset has come round.
        while !rest.is_empty() {
            let Ok(taken) = from.write(&rest[..rest.len().min(40)]).await else { break };
            rest = &rest[taken..];
            sleep(MS).await;
        }
        let _ = from.shutdown().await;
        let _ = timeout(Duration::from_secs(60), to.read_to_end(&mut read)).await;
        assert!(sent.starts_with(&read), "seed {seed}: {:?}", wire.happenings());
        cut_off += usize::from(read.len() < sent.len());
    }
    assert!((40..160).contains(&cut_off), "{cut_off}");
}

#[tokio::test(start_paused = true)]
async fn who_closes_before_everything_was_read_resets_the_connection() {
    let (_, mut ours, mut theirs) = connected(Faults::none().latency(10 * MS)).await;
    ours.write_all(b"a long question").await.unwrap();
    theirs.read_exact(&mut [0; 6]).await.unwrap();
    theirs.write_all(b"answer").await.unwrap();
    drop(theirs);
    sleep(11 * MS).await;
    assert_eq!(ours.read(&mut [0; 6]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let (_, mut ours, theirs) = connected(Faults::none().latency(10 * MS)).await;
    drop(theirs);
    assert_eq!(ours.read(&mut [0]).await.unwrap(), 0, "with nothing to be read, it is an end");
    ours.write_all(b"too late").await.unwrap();
    sleep(20 * MS).await;
    assert_eq!(ours.write(b"more").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn connections_are_refused_or_hang_until_it_is_calm_and_when_nobody_accepts() {
    let wire = Wire::new(1, Faults::none().latency(10 * MS).refusals(ALWAYS));
    let _accepted = wire.listen();
    let start = Instant::now();
    assert_eq!(wire.connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(start.elapsed(), 20 * MS);
    wire.calm();
    let stream = wire.connect().await.unwrap();
    assert_eq!((stream.connection(), wire.counts().refused, wire.counts().open), (1, 1, 1));

    let wire = Wire::new(1, Faults::none().hangs(ALWAYS));
    let accepted = wire.listen();
    assert!(timeout(Duration::from_secs(3600), wire.connect()).await.is_err());
    wire.calm();
    drop(accepted);
    assert_eq!(wire.connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!((wire.counts().hangs, wire.counts().refused, wire.counts().made), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_last_accepts_what_is_connected_from_then_on() {
    let wire = Wire::new(1, Faults::none());
    assert_eq!(wire.connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused, "nobody listens");
    let mut first = wire.listen();
    let _one = wire.connect().await.unwrap();
    let mut second = wire.listen();
    let _other = wire.connect().await.unwrap();
    assert_eq!((first.recv().await.unwrap().connection(), second.recv().await.unwrap().connection()), (1, 2));
    assert!(first.recv().await.is_none(), "and nothing more");
}

/// Whatever comes is sent back.
async fn echo(mut accepted: mpsc::Receiver<WireStream>) {
    while let Some(stream) = accepted.recv().await {
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_does_the_same_to_the_same_bytes_and_another_seed_something_else() {
    let told = async |seed| {
        let wire = Wire::new(seed, Faults::default().resets(Ratio::percent(50)).within(100));
        let echoing = tokio::spawn(echo(wire.listen()));
        for _ in 0..30 {
            let talk = async {
                let mut stream = wire.connect().await.ok()?;
                for _ in 0..20 {
                    stream.write_all(&[7; 20]).await.ok()?;
                    stream.read_exact(&mut [0; 20]).await.ok()?;
                }
                Some(())
            };
            let _ = timeout(Duration::from_secs(5), talk).await;
        }
        echoing.abort();
        let story: Vec<_> = wire.happenings().iter().map(ToString::to_string).collect();
        (story, wire.counts(), wire.fingerprint())
    };
    let (one, again, other) = (told(3).await, told(3).await, told(4).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert!(one.1.resets > 0 && other.1.resets > 0);
}
