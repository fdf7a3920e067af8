//! Protobuf schemas made to cost more than they are worth end in an error, in little memory.
//!
//! Its own binary, because it counts in the global allocator. Time is printed, not asserted: what
//! is asserted is how much is allocated, and how often, which follows the work done.
#![expect(clippy::print_stdout, reason = "the figures are for people")]

#[path = "support/cpu.rs"]
mod cpu;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_formats::{ParseMode, ParsedSchema, ResolvedReference, SchemaFormat};

/// Most bytes that may be held at once while a schema is refused.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most allocations until it is.
const ALLOCATIONS_MAX: u64 = 4_000_000;

/// Longest error, whatever it names.
const ERROR_BYTES_MAX: usize = 2_000;

const MEGABYTE: usize = 1024 * 1024;

struct Bomb {
    name: &'static str,
    text: String,
    references: Vec<ResolvedReference>,
    /// Part of the error.
    error: &'static str,
}

fn bomb(name: &'static str, text: String, error: &'static str) -> Bomb {
    Bomb {
        name,
        text,
        references: Vec::new(),
        error,
    }
}

fn with_references(
    name: &'static str,
    files: impl IntoIterator<Item = (String, String)>,
    text: String,
    error: &'static str,
) -> Bomb {
    let references = files.into_iter().map(|(path, schema)| ResolvedReference {
        subject: path.clone(),
        name: path,
        version: 1,
        schema,
    });
    Bomb {
        references: references.collect(),
        ..bomb(name, text, error)
    }
}

/// `count` times what `item` makes of a number.
fn many(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect()
}

fn proto3(body: &str) -> String {
    format!("syntax = \"proto3\";\n{body}")
}

fn texts() -> Vec<Bomb> {
    let long = |length| "a".repeat(length);
    vec![
        bomb(
            "a text that is too long",
            " ".repeat(8 * MEGABYTE + 1),
            "bytes, more than",
        ),
        bomb("semicolons", ";".repeat(MEGABYTE), "tokens"),
        bomb("brackets", "[".repeat(MEGABYTE), "tokens"),
        bomb(
            "a string without end",
            format!("\"{}", long(2 * MEGABYTE)),
            "not closed",
        ),
        bomb(
            "a comment without end",
            format!("/*{}", long(2 * MEGABYTE)),
            "not closed",
        ),
        bomb(
            "digits",
            format!("message A {{ int32 a = {}; }}", "1".repeat(2 * MEGABYTE)),
            "",
        ),
        bomb(
            "a long word",
            format!("message A {{ {} }}", long(2 * MEGABYTE)),
            "",
        ),
        bomb(
            "messages",
            many(100_000, |_| "message A{}".to_owned()),
            "tokens",
        ),
        bomb(
            "messages within the tokens",
            proto3(&many(79_000, |n| format!("message A{n}{{}}"))) + "message A0{}",
            "A0\"",
        ),
        bomb(
            "messages in messages",
            "message A{".repeat(150_000),
            "tokens",
        ),
        bomb(
            "messages in few messages",
            "message A{".repeat(70_000),
            "nest",
        ),
        bomb(
            "fields",
            format!(
                "message A{{{}}}",
                many(100_000, |n| format!("int32 a={n};"))
            ),
            "tokens",
        ),
        bomb(
            "fields of one number",
            proto3(&format!(
                "message A{{{}}}",
                many(63_000, |n| format!("int32 a{n}=1;"))
            )),
            "number 1",
        ),
        bomb(
            "fields of a type that is nowhere",
            proto3(&format!(
                "message A{{{}}}",
                many(63_000, |n| format!("B a{n}={};", n + 1))
            )),
            "\"B\"",
        ),
        bomb(
            "constants",
            format!("enum E{{{}}}", many(100_000, |_| "A=0;".to_owned())),
            "tokens",
        ),
        bomb(
            "numbers in an option",
            format!("option a = {{b: [{}]}};", "1,".repeat(MEGABYTE)),
            "tokens",
        ),
        bomb(
            "options in options",
            format!("option a = {}", "{a:".repeat(100_000)),
            "",
        ),
        bomb(
            "extension ranges",
            format!(
                "message A{{{}}}",
                many(63_000, |n| format!("extensions {};", n + 1))
            ),
            "extension ranges",
        ),
        bomb("imports", many(60_000, |n| format!("import \"{n}\";")), ""),
    ]
}

fn names() -> Vec<Bomb> {
    let long = |length| "a".repeat(length);
    let nested = |depth, inner: String| {
        let open = format!("message {} {{", long(500));
        open.repeat(depth) + &inner + &"}".repeat(depth)
    };
    vec![
        bomb(
            "a long name around many",
            format!(
                "message {} {{{}}}",
                long(MEGABYTE),
                many(50_000, |n| format!("message A{n}{{}}"))
            ),
            "a name has",
        ),
        bomb(
            "long names around many",
            nested(30, many(60_000, |n| format!("message A{n}{{}}"))),
            "full names",
        ),
        bomb(
            "a long package",
            format!("package {}; message A{{}}", long(2 * MEGABYTE)),
            "the package has",
        ),
        bomb(
            "a package of many parts",
            format!("package {}a; {}", "a.".repeat(150_000), "message A{}"),
            "the package has",
        ),
        bomb(
            "a type name of many parts",
            proto3(&format!("message A {{ {}B f = 1; }}", "a.".repeat(150_000))),
            "",
        ),
    ]
}

fn closures() -> Vec<Bomb> {
    let file = |n: usize, body: String| (format!("f{n}.proto"), proto3(&body));
    vec![
        with_references(
            "more references than are taken",
            (0..1001).map(|n| file(n, String::new())),
            proto3("message A{}"),
            "references are more than",
        ),
        with_references(
            "references that hold much together",
            (0..40).map(|n| file(n, many(30_000, |at| format!("message M{n}_{at}{{}}")))),
            proto3("message A{}"),
            "declare more than",
        ),
        with_references(
            "references that hold many types together",
            (0..4).map(|n| file(n, many(30_000, |at| format!("message M{n}_{at}{{}}")))),
            proto3(&many(4, |n| format!("import \"f{n}.proto\";"))) + "message A{}",
            "types",
        ),
        with_references(
            "references whose names are long",
            (0..900).map(|n| {
                file(
                    n,
                    format!("package {};", "p".repeat(500))
                        + &many(200, |at| format!("message M{n}_{at}{{}}")),
                )
            }),
            proto3("message A{}"),
            "full names",
        ),
        with_references(
            "a circle of imports",
            (0..900).map(|n| file(n, format!("import public \"f{}.proto\";", (n + 1) % 900))),
            proto3("import \"f0.proto\"; message A{}"),
            "",
        ),
        with_references(
            "a chain of imports that ends nowhere",
            (0..900).map(|n| file(n, format!("import public \"f{}.proto\";", n + 1))),
            proto3("import \"f0.proto\"; message A { Nowhere n = 1; }"),
            "",
        ),
    ]
}

/// Descriptors, which take two bytes a message.
fn descriptors() -> Vec<Bomb> {
    let base64 = |bytes: Vec<u8>| STANDARD.encode(bytes);
    let deep = |mut bytes: Vec<u8>, depth: usize| {
        for _ in 0..depth {
            let mut outer = vec![0x1a];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.append(&mut bytes);
            bytes = outer;
        }
        bytes
    };
    let mut path = vec![0x4a];
    let mut location = vec![0x0a];
    let run = vec![1_u8; 5 * MEGABYTE];
    let mut packed = vec![0x0a];
    prost::encoding::encode_varint(run.len() as u64, &mut packed);
    packed.extend(run);
    prost::encoding::encode_varint(packed.len() as u64, &mut location);
    location.extend(packed);
    prost::encoding::encode_varint(location.len() as u64, &mut path);
    path.extend(location);
    vec![
        bomb(
            "empty messages of a descriptor",
            base64([0x22, 0].repeat(3 * MEGABYTE)),
            "descriptor holds",
        ),
        bomb(
            "imports of a descriptor",
            base64([0x1a, 0].repeat(3 * MEGABYTE)),
            "descriptor holds",
        ),
        bomb(
            "a run of numbers in a descriptor",
            base64(path),
            "descriptor holds",
        ),
        bomb(
            "a descriptor in a descriptor",
            base64(
                [0x22, 0x80, 0x80, 0x08]
                    .into_iter()
                    .chain(deep(Vec::new(), 30_000))
                    .collect(),
            ),
            "",
        ),
    ]
}

/// What is wrong with the answer to a bomb.
fn faults(bomb: &Bomb) -> Vec<String> {
    let mut faults = Vec::new();
    for mode in [ParseMode::New, ParseMode::Existing] {
        let started = cpu::of_this_thread();
        let before = counting::start();
        let parsed =
            ParsedSchema::parse(SchemaFormat::Protobuf, &bomb.text, &bomb.references, mode);
        let cost = counting::since(before);
        let took = cpu::of_this_thread().saturating_sub(started);
        let name = format!("{} ({mode:?})", bomb.name);
        println!(
            "{name}: {} ms, {} KiB held, {} allocations",
            took.as_millis(),
            cost.held_bytes / 1024,
            cost.allocations
        );
        match parsed {
            Err(error) if error.message.len() > ERROR_BYTES_MAX => {
                faults.push(format!("{name}: an error of {} bytes", error.message.len()));
            }
            Err(error) if error.message.contains(bomb.error) => {}
            Err(error) => faults.push(format!("{name}: {error}")),
            // What a stored schema may hold is not checked in all.
            Ok(_) if mode == ParseMode::Existing => {}
            Ok(_) => faults.push(format!("{name} is taken")),
        }
        if cost.held_bytes > HELD_BYTES_MAX || cost.allocations > ALLOCATIONS_MAX {
            faults.push(format!("{name}: {cost:?}"));
        }
    }
    faults
}

#[test]
fn bombs_end_in_an_error() {
    // What is made once for the process is not the bomb's.
    let parsed = ParsedSchema::parse(
        SchemaFormat::Protobuf,
        &proto3("import \"google/protobuf/any.proto\"; message A { google.protobuf.Any a = 1; }"),
        &[],
        ParseMode::New,
    );
    parsed.expect("a plain schema");
    let found: Vec<String> = [texts(), names(), closures(), descriptors()]
        .iter()
        .flatten()
        .flat_map(faults)
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The allocator that counts.
#[allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    static HELD: AtomicUsize = AtomicUsize::new(0);
    static MOST_HELD: AtomicUsize = AtomicUsize::new(0);
    static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

    /// What was held, and how often was allocated, at the start.
    pub(super) struct Start(usize, u64);

    /// What was spent since a start.
    #[derive(Debug)]
    pub(super) struct Cost {
        /// The most bytes held at once beyond what was held before.
        pub(super) held_bytes: usize,
        pub(super) allocations: u64,
    }

    pub(super) fn start() -> Start {
        let held = HELD.load(Ordering::Relaxed);
        MOST_HELD.store(held, Ordering::Relaxed);
        Start(held, ALLOCATIONS.load(Ordering::Relaxed))
    }

    pub(super) fn since(start: Start) -> Cost {
        Cost {
            held_bytes: MOST_HELD.load(Ordering::Relaxed).saturating_sub(start.0),
            allocations: ALLOCATIONS.load(Ordering::Relaxed) - start.1,
        }
    }

    fn more(bytes: usize) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        MOST_HELD.fetch_max(held, Ordering::Relaxed);
    }

    fn less(bytes: usize) {
        HELD.fetch_sub(bytes, Ordering::Relaxed);
    }

    struct Counting;

    // SAFETY: every method hands its arguments unchanged to the system allocator, which keeps the
    // contract; counting allocates nothing.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            more(layout.size());
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            less(layout.size());
            // SAFETY: the caller's promises about `block` and `layout` are passed on.
            unsafe { System.dealloc(block, layout) }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // Both blocks may be held while one is copied to the other.
            more(size);
            less(layout.size());
            // SAFETY: the caller's promises about `block`, `layout` and `size` are passed on.
            unsafe { System.realloc(block, layout, size) }
        }
    }

    #[global_allocator]
    static COUNTING: Counting = Counting;
}
