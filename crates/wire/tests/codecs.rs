//! Both codecs: every frame comes back as it went, in JSON and in protobuf; the specification's
//! examples are understood and written the same; hostile input is refused, whatever its shape.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use tidegate_wire::{
    Codec, Epoch, Lane, Payload, Position, Publication, Reject, RejectCode, RoomName, ServerFrame, Stamps,
    frame::{
        Command, Connect, Connected, Filter, GapReason, History, HistoryPage, Join, Joined, Member, Members,
        MembersChange, Notice, Ok as Reply, Part, Pong, Presence, Publish, Published, Push, Recovery,
        Request, Wishes,
    },
};

const CODECS: [Codec; 2] = [Codec::Json, Codec::Binary];

fn room() -> impl Strategy<Value = RoomName> {
    "[a-z0-9_-]{1,8}:[A-Za-z0-9äß:/\"\\\\-]{1,20}".prop_map(|name| RoomName::parse(&name).unwrap())
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), 0..1u64 << 53).prop_map(|(epoch, offset)| Position {
        epoch: Epoch(epoch),
        offset,
    })
}

fn text(max: usize) -> impl Strategy<Value = Bytes> {
    ".{0,16}".prop_map(move |text| {
        let mut end = text.len().min(max);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Bytes::copy_from_slice(&text.as_bytes()[..end])
    })
}

fn json() -> impl Strategy<Value = Bytes> {
    let values = [
        r#"{"a":[1,2,{"b":"}\"]"}]}"#,
        "null",
        "[]",
        "3.25",
        r#""ü""#,
        r#"{ "spaced" : true }"#,
    ];
    prop::sample::select(values.to_vec()).prop_map(|value| Bytes::from_static(value.as_bytes()))
}

fn payload() -> impl Strategy<Value = Payload> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        json().prop_map(Payload::Json),
        bytes.prop_map(|bytes| Payload::Bytes(bytes.into()))
    ]
}

/// Times that survive as milliseconds in an f64.
fn us() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0u64), 1u64..4_000_000_000_000_000]
}

fn lane() -> impl Strategy<Value = Option<Lane>> {
    proptest::option::of(prop_oneof![
        Just(Lane::Reliable),
        Just(Lane::Latest),
        Just(Lane::Lossy)
    ])
}

fn publication() -> impl Strategy<Value = Publication> {
    (
        (1..1u64 << 53, lane()),
        payload(),
        text(40),
        text(40),
        text(40),
        us(),
        us(),
        us(),
    )
        .prop_map(
            |((offset, lane), data, from, msg, key, sent_us, received_us, ordered_us)| Publication {
                offset,
                lane,
                data: deleting(offset % 5 == 0, data, &key),
                from,
                msg,
                key,
                stamps: Stamps {
                    sent_us,
                    received_us,
                    ordered_us,
                },
            },
        )
}

fn join() -> impl Strategy<Value = Join> {
    let options = (
        proptest::option::of(position()),
        proptest::option::of(any::<u32>()),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    (room(), options, wishes()).prop_map(|(room, (since, last, enter, members, state), wishes)| Join {
        room,
        since,
        last,
        enter,
        members,
        wishes,
        state,
    })
}

/// Now and then a delete, where there is a key to delete.
fn deleting(is_delete: bool, data: Payload, key: &Bytes) -> Payload {
    match is_delete && !key.is_empty() {
        true => Payload::Delete,
        false => data,
    }
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let keys = proptest::option::of(proptest::collection::vec(text(128), 0..4));
    (keys, proptest::option::of(0.1..=1_000.0f64)).prop_map(|(keys, max_rate)| Wishes { keys, max_rate })
}

fn command() -> impl Strategy<Value = Command> {
    let resume = proptest::collection::vec((1..u32::MAX, join()), 0..4);
    prop_oneof![
        ("[ -~]{0,20}", "[a-z]{0,9}", "[0-9.]{0,9}", resume).prop_map(
            |(token, client_name, client_version, resume)| Command::Connect(Connect {
                token,
                client_name,
                client_version,
                resume,
            })
        ),
        "[ -~]{0,20}".prop_map(|token| Command::Refresh { token }),
        join().prop_map(Command::Join),
        (room(), wishes()).prop_map(|(room, wishes)| Command::Filter(Filter { room, wishes })),
        room().prop_map(|room| Command::Leave { room }),
        (room(), lane(), payload(), text(64), text(128), us()).prop_map(
            |(room, lane, data, msg, key, sent_us)| {
                Command::Publish(Publish {
                    room,
                    lane,
                    data: deleting(sent_us % 5 == 0, data, &key),
                    msg,
                    key,
                    sent_us,
                })
            }
        ),
        (
            room(),
            proptest::option::of(position()),
            any::<u32>(),
            any::<bool>()
        )
            .prop_map(|(room, since, limit, reverse)| Command::History(History {
                room,
                since,
                limit,
                reverse,
            })),
        (room(), any::<u32>()).prop_map(|(room, limit)| Command::Presence(Presence { room, limit })),
        (0.0..1e15f64).prop_map(|t0_ms| Command::Ping { t0_ms }),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    (text(30), prop_oneof![Just(Bytes::new()), json()]).prop_map(|(user, info)| Member { user, info })
}

fn members() -> impl Strategy<Value = Members> {
    (any::<u32>(), proptest::collection::vec(member(), 0..4))
        .prop_map(|(count, sample)| Members { count, sample })
}

fn reason() -> impl Strategy<Value = GapReason> {
    prop::sample::select(GapReason::ALL)
}

fn reply() -> impl Strategy<Value = Reply> {
    let recovery = prop_oneof![
        Just(Recovery::None),
        Just(Recovery::Replay),
        reason().prop_map(Recovery::Gap)
    ];
    let limits = (any::<u32>(), any::<u32>(), any::<u32>());
    prop_oneof![
        (
            "c[0-9]-[0-9a-f]{4}",
            ".{0,9}",
            proptest::option::of(0..1u64 << 53),
            limits
        )
            .prop_map(
                |(connection, user, expires_in_ms, (ping_ms, frame_bytes_max, reconnect_ms))| {
                    Reply::Connected(Connected {
                        connection,
                        user,
                        expires_in_ms,
                        ping_ms,
                        frame_bytes_max,
                        reconnect_ms,
                    })
                }
            ),
        (0..1u64 << 53).prop_map(|ms| Reply::Refreshed {
            expires_in_ms: Some(ms),
        }),
        (
            room(),
            position(),
            recovery,
            any::<u32>(),
            proptest::option::of(members()),
            proptest::option::of(any::<u32>())
        )
            .prop_map(
                |(room, at, recovery, replayed, members, state)| Reply::Joined(Joined {
                    room,
                    epoch: at.epoch,
                    offset: at.offset,
                    recovery,
                    replayed,
                    members,
                    state,
                })
            ),
        Just(Reply::Filtered),
        Just(Reply::Left),
        (position(), any::<bool>())
            .prop_map(|(position, duplicate)| Reply::Published(Published { position, duplicate })),
        (
            room(),
            position(),
            0..1u64 << 53,
            proptest::collection::vec(publication(), 0..4),
            any::<bool>(),
            proptest::option::of(reason())
        )
            .prop_map(
                |(room, head, oldest, publications, more, gap)| Reply::History(HistoryPage {
                    room,
                    head,
                    oldest,
                    publications,
                    more,
                    gap,
                })
            ),
        members().prop_map(Reply::Presence),
        (0.0..1e15f64, 0.0..1e15f64, 0.0..1e15f64).prop_map(|(t0_ms, t1_ms, t2_ms)| Reply::Pong(Pong {
            t0_ms,
            t1_ms,
            t2_ms
        })),
    ]
}

fn reject() -> impl Strategy<Value = Reject> {
    (
        prop::sample::select(RejectCode::ALL),
        proptest::option::of(any::<u32>()),
        ".{0,20}",
    )
        .prop_map(|(code, retry_after_ms, detail)| Reject {
            code,
            retry_after_ms,
            detail,
        })
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let change = (
        room(),
        any::<u32>(),
        proptest::collection::vec(member(), 0..3),
        proptest::collection::vec(text(20), 0..3),
        proptest::option::of(proptest::collection::vec(member(), 0..3)),
    )
        .prop_map(|(room, count, joined, left, sample)| {
            // A sample stands alone.
            let is_small = sample.is_none();
            MembersChange {
                room,
                count,
                joined: if is_small { joined } else { Vec::new() },
                left: if is_small { left } else { Vec::new() },
                sample,
            }
        });
    let notice = prop_oneof![
        (0..1u64 << 53).prop_map(|in_ms| Notice::TokenExpiring { in_ms }),
        room().prop_map(|room| Notice::Removed { room }),
        Just(Notice::Shutdown),
        (0..1u64 << 53).prop_map(|in_ms| Notice::Draining { in_ms }),
    ];
    prop_oneof![
        (
            1..u32::MAX,
            prop_oneof![reply().prop_map(Ok), reject().prop_map(Err)]
        )
            .prop_map(|(id, result)| ServerFrame::Reply { id, result }),
        (room(), publication())
            .prop_map(|(room, publication)| ServerFrame::Push(Push::Event { room, publication })),
        change.prop_map(|change| ServerFrame::Push(Push::Members(change))),
        (room(), position(), reason(), 0..1u64 << 53).prop_map(|(room, position, reason, count)| {
            ServerFrame::Push(Push::Gap {
                room,
                position,
                reason,
                count,
            })
        }),
        notice.prop_map(|notice| ServerFrame::Push(Push::Notice(notice))),
        (any::<u32>(), any::<bool>(), "\\PC{0,40}").prop_map(|(message, more, piece)| {
            let piece = piece.into();
            ServerFrame::Push(Push::Part(Part { message, more, piece }))
        }),
    ]
}

fn encode(codec: Codec, frame: &ServerFrame, out: &mut Vec<u8>) {
    match frame {
        ServerFrame::Reply { id, result } => codec.encode_reply(*id, result, out),
        ServerFrame::Push(push) => codec.encode_push(push, out),
    }
}

proptest! {
    #[test]
    fn commands_come_back_as_they_went(commands in proptest::collection::vec((1..u32::MAX, command()), 1..5)) {
        for codec in CODECS {
            let requests: Vec<Request> =
                commands.iter().map(|(id, command)| Request { id: *id, command: command.clone() }).collect();
            let mut bytes = Vec::new();
            for request in &requests {
                codec.encode_request(request, &mut bytes);
            }
            let mut decoded = Vec::new();
            codec.decode(&bytes, &mut |request| decoded.push(request.unwrap())).unwrap();
            prop_assert_eq!(&decoded, &requests);
        }
    }

    #[test]
    fn what_a_server_sends_comes_back_as_it_went(frames in proptest::collection::vec(server_frame(), 1..5)) {
        for codec in CODECS {
            let mut bytes = Vec::new();
            for frame in &frames {
                encode(codec, frame, &mut bytes);
            }
            let mut decoded = Vec::new();
            codec.decode_server(&bytes, &mut |frame| decoded.push(frame)).unwrap();
            prop_assert_eq!(&decoded, &frames);
        }
    }

    #[test]
    fn whatever_comes_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for codec in CODECS {
            let _ = codec.decode(&bytes, &mut |_| {});
            let _ = codec.decode_server(&bytes, &mut |_| {});
        }
    }
}

/// The specification's examples: commands and server frames alike.
fn examples() -> Vec<Value> {
    let book = include_str!("../../../docs/protocol.md");
    let blocks = book
        .split("```json\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap());
    let values: Vec<Value> = blocks
        .map(|block| serde_json::from_str(block).expect(block))
        .collect();
    assert!(values.len() > 20, "{}", values.len());
    values
}

#[test]
fn the_specifications_examples_are_understood_and_written_the_same() {
    for example in examples() {
        let text = example.to_string();
        let is_from_server = ["ok", "reject", "event", "members", "gap", "notice", "part"]
            .iter()
            .any(|name| example.get(name).is_some());
        let mut again = Vec::new();
        if is_from_server {
            let mut frames = Vec::new();
            Codec::Json
                .decode_server(text.as_bytes(), &mut |frame| frames.push(frame))
                .unwrap();
            assert_eq!(frames.len(), 1, "{text}");
            encode(Codec::Json, &frames[0], &mut again);
        } else {
            let mut requests = Vec::new();
            let outcome = Codec::Json.decode(text.as_bytes(), &mut |request| requests.push(request));
            outcome.expect(&text);
            let request = requests.pop().unwrap().expect(&text);
            Codec::Json.encode_request(&request, &mut again);
        }
        let again: Value = serde_json::from_slice(&again).unwrap();
        assert_contains(&again, &example, &text);
    }
}

/// What was written says all that the example says; it may say more (defaults).
fn assert_contains(written: &Value, example: &Value, whole: &str) {
    match (written, example) {
        (Value::Object(written), Value::Object(example)) => {
            for (name, value) in example {
                match (written.get(name), value) {
                    (Some(written), value) => assert_contains(written, value, whole),
                    // `false` may be left out.
                    (None, Value::Bool(false)) => {}
                    (None, _) => panic!("{name} is missing in {whole}"),
                }
            }
        }
        (Value::Array(written), Value::Array(example)) => {
            assert_eq!(written.len(), example.len(), "{whole}");
            written
                .iter()
                .zip(example)
                .for_each(|(w, e)| assert_contains(w, e, whole));
        }
        (Value::Number(written), Value::Number(example)) => {
            assert_eq!(written.as_f64(), example.as_f64(), "{whole}");
        }
        (written, example) => assert_eq!(written, example, "{whole}"),
    }
}

#[test]
fn deep_json_is_refused_and_never_recursed_into() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let publish = |data: &str| format!(r#"{{"id":1,"publish":{{"room":"a:b","data":{data}}}}}"#);
    for (n, is_good) in [(128, true), (129, false), (100_000, false)] {
        let mut outcome = None;
        Codec::Json
            .decode(publish(&deep(n)).as_bytes(), &mut |request| {
                outcome = Some(request)
            })
            .unwrap();
        assert_eq!(outcome.unwrap().is_ok(), is_good, "{n}");
        let request = Request {
            id: 1,
            command: Command::Publish(Publish {
                room: RoomName::parse("a:b").unwrap(),
                lane: None,
                data: Payload::Json(deep(n).into()),
                msg: Bytes::new(),
                key: Bytes::new(),
                sent_us: 0,
            }),
        };
        let (mut bytes, mut outcome) = (Vec::new(), None);
        Codec::Binary.encode_request(&request, &mut bytes);
        Codec::Binary
            .decode(&bytes, &mut |request| outcome = Some(request))
            .unwrap();
        assert_eq!(outcome.unwrap().is_ok(), is_good, "{n}");
    }
    // Deep where no payload is: in an unknown field, in a known one, as the whole message.
    for text in [
        format!(r#"{{"id":1,"what":{},"ping":{{"t0":1}}}}"#, deep(100_000)),
        format!(r#"{{"id":1,"connect":{}}}"#, deep(100_000)),
        deep(100_000),
    ] {
        let _ = Codec::Json.decode(text.as_bytes(), &mut |_| {});
    }
}

#[test]
fn wrong_bodies_are_rejected_under_their_id_with_the_field() {
    for (body, field) in [
        (r#""publish":{"room":"a:b"}"#, "data"),
        (r#""publish":{"room":"ab","data":1}"#, "room"),
        (r#""publish":{"room":"a:b","data":1,"bytes":""}"#, "bytes"),
        (r#""publish":{"room":"a:b","bytes":"?"}"#, "bytes"),
        (r#""publish":{"room":"a:b","data":1,"sent_at":-1}"#, "sent_at"),
        (r#""publish":{"room":"a:b","data":1,"sent_at":1e300}"#, "sent_at"),
        (r#""publish":5"#, "publish"),
        (
            r#""join":{"room":"a:b","since":{"epoch":"x","offset":1}}"#,
            "epoch",
        ),
        (r#""join":{"room":"a:b","last":-1}"#, "join"),
        (r#""join":{"room":"a:b"},"leave":{"room":"a:b"}"#, "join"),
        (r#""dance":{}"#, "command"),
    ] {
        let mut outcome = None;
        let text = format!("{{\"id\":7,{body}}}");
        Codec::Json
            .decode(text.as_bytes(), &mut |request| outcome = Some(request))
            .unwrap();
        let bad = outcome.unwrap().expect_err(&text);
        assert_eq!((bad.id, bad.reject.code), (7, RejectCode::Malformed));
        assert!(bad.reject.detail.contains(field), "{text}: {}", bad.reject.detail);
    }
    for text in [
        "",
        " ",
        "hello",
        "[]",
        "{}",
        r#"{"id":0,"ping":{"t0":1}}"#,
        r#"{"id":-1}"#,
        r#"{"id":"x"}"#,
    ] {
        assert!(
            Codec::Json.decode(text.as_bytes(), &mut |_| {}).is_err(),
            "{text:?}"
        );
    }
}

#[test]
fn a_token_may_be_as_long_as_the_book_says() {
    for codec in CODECS {
        for (len, is_taken) in [(16 << 10, true), ((16 << 10) + 1, false)] {
            let command = Command::Refresh {
                token: "t".repeat(len),
            };
            let mut bytes = Vec::new();
            codec.encode_request(&Request { id: 7, command }, &mut bytes);
            let mut taken = None;
            codec
                .decode(&bytes, &mut |request| taken = Some(request.is_ok()))
                .unwrap();
            assert_eq!(taken, Some(is_taken), "{codec:?}, {len}");
        }
    }
}

#[test]
fn the_proto_file_is_what_the_codec_speaks() {
    // Every field of every message, with its number, stands in both.
    let proto = include_str!("../../../docs/tidegate.proto");
    let rust = include_str!("../src/binary/proto.rs");
    let mut fields = 0;
    let mut message = "";
    for line in proto.lines().map(|line| line.split("//").next().unwrap().trim()) {
        if let Some(rest) = line.strip_prefix("message ") {
            message = rest.split_whitespace().next().unwrap();
            assert!(rust.contains(&format!("struct {message} {{")), "{message}");
        }
        let Some((left, number)) = line.strip_suffix(';').and_then(|line| line.split_once(" = ")) else {
            continue;
        };
        if left.starts_with("syntax") || !left.contains(' ') {
            continue;
        }
        fields += 1;
        let name = left.split_whitespace().last().unwrap();
        let variant: String = name.split('_').map(|w| w[..1].to_uppercase() + &w[1..]).collect();
        let of_message = rust.split(&format!("struct {message} {{")).nth(1).unwrap();
        let body = of_message.split("\n}").next().unwrap();
        let plain = format!("tag = \"{number}\")]\n    pub(super) {name}:");
        let in_oneof = format!("tag = \"{number}\")]\n    {variant}(");
        assert!(
            body.contains(&plain) || rust.contains(&in_oneof),
            "{message}.{name} = {number}"
        );
    }
    assert!(fields > 80, "{fields}");
}
