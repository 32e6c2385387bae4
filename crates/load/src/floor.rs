//! The floor: the least any server must do. It accepts, answers just enough of the native
//! protocol that every workload runs unchanged, and writes one pre-framed buffer per subscriber
//! with one call each. No history, no token, no bound, no check: it is not a server.

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;
use tidegate_wire::{
    Codec,
    frame::Command,
    ws::{
        frame::{Opcode, server_frame},
        handshake::{self, Parsed},
        reader::{Inflater, Message, Reader, Role},
    },
};

use crate::LoadError;

/// When a subscriber is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At once, one call per publication and subscriber.
    Plain,
    /// All that came in one turn in one call per subscriber.
    Corked,
    /// As plain, in slices, with a look at the sockets in between.
    Fair,
}

const SLICE: usize = 128;
const LISTENER: Token = Token(usize::MAX);

struct Connection {
    socket: TcpStream,
    head: Option<Vec<u8>>,
    reader: Reader,
    backlog: Vec<u8>,
    written: usize,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    offset: u64,
    pending: Vec<u8>,
}

/// A walk over a room's members that is under way.
struct Walk {
    room: usize,
    frame: Rc<[u8]>,
    next: usize,
}

struct Floor {
    mode: Mode,
    connections: Slab<Connection>,
    rooms: Vec<Room>,
    by_name: HashMap<String, usize>,
    walks: VecDeque<Walk>,
    dirty: Vec<usize>,
}

/// Serves until it is killed.
pub(crate) fn serve(listen: SocketAddr, mode: Mode) -> Result<(), LoadError> {
    crate::process::raise_descriptors();
    let mut poll = Poll::new().map_err(LoadError::system("poll"))?;
    let mut listener = listen_on(listen)?;
    let register = poll
        .registry()
        .register(&mut listener, LISTENER, Interest::READABLE);
    register.map_err(LoadError::system("poll"))?;
    let addr = listener.local_addr().map_err(LoadError::system("listen"))?;
    println!("floor listens on ws://{addr}/v1/ws");
    let mut floor = Floor {
        mode,
        connections: Slab::new(),
        rooms: Vec::new(),
        by_name: HashMap::new(),
        walks: VecDeque::new(),
        dirty: Vec::new(),
    };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 << 10];
    let mut inflater = Inflater::default();
    loop {
        let wait = (!floor.walks.is_empty()).then_some(Duration::ZERO);
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.map_err(LoadError::system("poll"))?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    let _ = socket.set_nodelay(true);
                    let entry = floor.connections.vacant_entry();
                    let token = Token(entry.key());
                    let both = Interest::READABLE | Interest::WRITABLE;
                    if poll.registry().register(&mut socket, token, both).is_ok() {
                        entry.insert(Connection {
                            socket,
                            head: Some(Vec::new()),
                            reader: Reader::new(Role::Server, 1 << 20, false),
                            backlog: Vec::new(),
                            written: 0,
                        });
                    }
                }
                continue;
            }
            let key = event.token().0;
            if event.is_writable() {
                floor.write_on(key);
            }
            if event.is_readable() {
                floor.read(key, &mut buffer, &mut inflater);
            }
        }
        floor.end_turn();
    }
}

fn listen_on(listen: SocketAddr) -> Result<TcpListener, LoadError> {
    use socket2::{Domain, Socket, Type};
    let open = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(listen), Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&listen.into())?;
        socket.listen(16_384)?;
        Ok(TcpListener::from_std(socket.into()))
    };
    open().map_err(LoadError::system("listen"))
}

impl Floor {
    fn read(&mut self, key: usize, buffer: &mut [u8], inflater: &mut Inflater) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let len = match connection.socket.read(buffer) {
                Ok(0) => return self.remove(key),
                Ok(len) => len,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => return self.remove(key),
            };
            self.on_bytes(key, &mut buffer[..len], inflater);
            if len < buffer.len() {
                return;
            }
        }
    }

    fn on_bytes(&mut self, key: usize, bytes: &mut [u8], inflater: &mut Inflater) {
        let connection = &mut self.connections[key];
        if let Some(head) = &mut connection.head {
            head.extend_from_slice(bytes);
            let answer = match handshake::parse_request(head) {
                Ok(Parsed::Partial) => return,
                Ok(Parsed::Request(request)) => {
                    let key = request.key.unwrap_or_default();
                    handshake::response(key, Some(Codec::Json.subprotocol()), None)
                }
                Err(_) => return self.remove(key),
            };
            connection.head = None;
            return self.write(key, &answer);
        }
        let mut commands = Vec::new();
        let mut reader = std::mem::replace(&mut connection.reader, Reader::new(Role::Server, 1 << 20, false));
        let mut input = reader.input(bytes, inflater);
        while let Ok(Some(message)) = input.next() {
            if let Message::Text(text) = message {
                let _ = Codec::Json.decode(text, &mut |command| commands.extend(command.ok()));
            }
        }
        self.connections[key].reader = reader;
        for request in commands {
            self.on_command(key, request.id, request.command);
        }
    }

    fn on_command(&mut self, key: usize, id: u32, command: Command) {
        let reply = match command {
            Command::Connect(_) => format!(
                r#"{{"id":{id},"ok":{{"connection":"c","user":"u","ping_ms":25000,"frame_bytes_max":65536,"reconnect_ms":2000}}}}"#
            ),
            Command::Join(join) => {
                let room = self.room(join.room.as_str());
                self.rooms[room].members.push(key);
                let offset = self.rooms[room].offset;
                format!(
                    r#"{{"id":{id},"ok":{{"room":"{}","epoch":"0000000000000001","offset":{offset},"recovery":"none","replayed":0}}}}"#,
                    join.room
                )
            }
            Command::Publish(publish) => {
                let place = self.room(publish.room.as_str());
                let room = &mut self.rooms[place];
                room.offset += 1;
                let offset = room.offset;
                let data = String::from_utf8_lossy(publish.data.as_bytes());
                let event = format!(
                    r#"{{"event":{{"room":"{}","offset":{offset},"data":{data}}}}}"#,
                    publish.room
                );
                let frame = server_frame(Opcode::Text, event.as_bytes());
                match self.mode {
                    Mode::Plain => self.write_all(place, &frame),
                    Mode::Corked => {
                        if room.pending.is_empty() {
                            self.dirty.push(place);
                        }
                        self.rooms[place].pending.extend_from_slice(&frame);
                    }
                    Mode::Fair => self.walks.push_back(Walk {
                        room: place,
                        frame: Rc::from(&frame[..]),
                        next: 0,
                    }),
                }
                format!(
                    r#"{{"id":{id},"ok":{{"epoch":"0000000000000001","offset":{offset},"duplicate":false}}}}"#
                )
            }
            _ => return,
        };
        self.write(key, &server_frame(Opcode::Text, reply.as_bytes()));
    }

    fn room(&mut self, name: &str) -> usize {
        if let Some(room) = self.by_name.get(name) {
            return *room;
        }
        self.rooms.push(Room::default());
        self.by_name.insert(name.to_owned(), self.rooms.len() - 1);
        self.rooms.len() - 1
    }

    fn end_turn(&mut self) {
        for room in std::mem::take(&mut self.dirty) {
            let pending = std::mem::take(&mut self.rooms[room].pending);
            self.write_all(room, &pending);
        }
        if let Some(mut walk) = self.walks.pop_front() {
            let members = &self.rooms[walk.room].members;
            let end = members.len().min(walk.next + SLICE);
            let slice: Vec<usize> = members[walk.next..end].to_vec();
            for key in slice {
                self.write(key, &walk.frame);
            }
            walk.next = end;
            if walk.next < self.rooms[walk.room].members.len() {
                self.walks.push_back(walk);
            }
        }
    }

    fn write_all(&mut self, room: usize, frame: &[u8]) {
        let members = std::mem::take(&mut self.rooms[room].members);
        for key in &members {
            self.write(*key, frame);
        }
        self.rooms[room].members = members;
    }

    fn write(&mut self, key: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let written = match connection.backlog.is_empty() {
            true => connection.socket.write(bytes).unwrap_or(0),
            false => 0,
        };
        connection.backlog.extend_from_slice(&bytes[written..]);
    }

    fn write_on(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        while connection.written < connection.backlog.len() {
            match connection.socket.write(&connection.backlog[connection.written..]) {
                Ok(len) => connection.written += len,
                Err(_) => return,
            }
        }
        connection.backlog.clear();
        connection.written = 0;
    }

    fn remove(&mut self, key: usize) {
        self.connections.remove(key);
        for room in &mut self.rooms {
            room.members.retain(|member| *member != key);
        }
    }
}
