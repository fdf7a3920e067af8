//! Which files take part in linking, in the order of their imports, and what each of them sees.

use std::collections::{HashMap, HashSet};

use super::super::ast::{At, Edition, Import, ImportKind, OptionNode, ProtoFile, Syntax, Value};
use super::super::resolve::join;
use super::super::used::used_names;
use super::super::{Reference, bundled};
use super::symbols::{View, parent};
use super::{LinkError, SourceFile, Strictness};
use crate::schema::ParseError;

/// Where the options of `protoc` are declared; part of every linking.
pub(super) const DESCRIPTOR: &str = "google/protobuf/descriptor.proto";

/// A file that takes part, and the positions of those it imports.
#[derive(Debug)]
pub(super) struct Loaded<'a> {
    pub(super) source: SourceFile<'a>,
    /// One of the files every registry knows, which need no checking.
    pub(super) known: bool,
    /// Import and position of the file, earlier than this one's.
    pub(super) imports: Vec<(ImportKind, usize)>,
}

/// An open file of the walk along imports.
struct Open<'a> {
    source: SourceFile<'a>,
    known: bool,
    next: usize,
    imports: Vec<(ImportKind, usize)>,
    /// References and known files whose types are used without an import.
    extra: Vec<&'a str>,
}

/// The root last, each file after those it imports.
pub(super) fn load<'a>(
    root: &'a ProtoFile,
    references: &'a [Reference],
    strictness: Strictness,
) -> Result<Vec<Loaded<'a>>, ParseError> {
    let by_path: HashMap<&str, &Reference> = references
        .iter()
        .rev()
        .map(|one| (one.name.as_str(), one))
        .collect();
    // Path of the first reference that declares each outermost type.
    let mut declared: HashMap<String, &str> = HashMap::new();
    if strictness != Strictness::Protoc {
        for one in references {
            for full in outermost(&one.file) {
                declared.entry(full).or_insert(&one.name);
            }
        }
    }
    // The compiler's own files are not replaced by references of the same name.
    let find = |path: &str| -> Option<(SourceFile<'a>, bool)> {
        let known = bundled::file(path).map(|(path, node)| (SourceFile { path, node }, true));
        if path.starts_with("google/protobuf/") && known.is_some() {
            return known;
        }
        let referred = by_path.get(path).map(|one| {
            let (path, node) = (one.name.as_str(), &one.file);
            (SourceFile { path, node }, false)
        });
        referred.or(known)
    };
    let mut loaded: Vec<Loaded<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    // A schema may be a copy of that file itself.
    let is_copy = root.package_name() == "google.protobuf"
        && root
            .messages
            .iter()
            .any(|message| message.name == "FileOptions");
    if !is_copy && let Some((source, known)) = find(DESCRIPTOR) {
        places.insert(DESCRIPTOR, 0);
        loaded.push(Loaded {
            source,
            known,
            imports: Vec::new(),
        });
    }
    let open = |(source, known): (SourceFile<'a>, bool)| Open {
        source,
        known,
        next: 0,
        imports: Vec::new(),
        extra: if known || strictness == Strictness::Protoc {
            Vec::new()
        } else {
            unimported(source.node, &by_path, &declared)
        },
    };
    let own = SourceFile {
        path: "",
        node: root,
    };
    let mut stack = vec![open((own, false))];
    while let Some(top) = stack.last_mut() {
        let is_root = top.source.path.is_empty();
        let fail = |error: LinkError| error.in_file((!is_root).then_some(top.source.path));
        let written = top.source.node.imports.get(top.next);
        let beyond = top.next.saturating_sub(top.source.node.imports.len());
        let (path, kind, at) = match (written, top.extra.get(beyond)) {
            (Some(import), _) => (import.path.as_str(), import.kind, import.at),
            (None, Some(path)) => (*path, ImportKind::Plain, At::default()),
            (None, None) => {
                let Some(done) = stack.pop() else { break };
                places.insert(done.source.path, loaded.len());
                loaded.push(Loaded {
                    source: done.source,
                    known: done.known,
                    imports: done.imports,
                });
                if let Some(importer) = stack.last_mut() {
                    let kind = importer.source.node.imports.get(importer.next);
                    let kind = kind.map_or(ImportKind::Plain, |import| import.kind);
                    importer.imports.push((kind, loaded.len() - 1));
                    importer.next += 1;
                }
                continue;
            }
        };
        if strictness != Strictness::Wire
            && !top.known
            && let Some(import) = written
        {
            check(top.source.node, top.next, import).map_err(fail)?;
        }
        if let Some(place) = places.get(path) {
            top.imports.push((kind, *place));
            top.next += 1;
            continue;
        }
        let Some(found) = find(path) else {
            if strictness != Strictness::Wire {
                let message = format!("import \"{path}\" was not found");
                return Err(fail(LinkError::new(at, message)));
            }
            top.next += 1;
            continue;
        };
        if stack.iter().any(|open| open.source.path == path) {
            let message = format!("file \"{path}\" imports itself");
            let top = stack.last().map_or("", |top| top.source.path);
            let error = LinkError::new(at, message);
            return Err(error.in_file((!top.is_empty()).then_some(top)));
        }
        stack.push(open(found));
    }
    if strictness != Strictness::Wire {
        check_runtimes(&loaded)?;
    }
    Ok(loaded)
}

/// What is wrong with one import by itself.
fn check(file: &ProtoFile, position: usize, import: &Import) -> Result<(), LinkError> {
    let path = import.path.as_str();
    let odd = path.contains('\\')
        || path
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..");
    if odd {
        return Err(LinkError::new(
            import.at,
            format!(
                "import \"{path}\": backslashes, consecutive slashes, \".\" and \"..\" are not \
                 allowed"
            ),
        ));
    }
    if import.kind == ImportKind::Weak && file.syntax == Some(Syntax::Edition(Edition::E2024)) {
        return Err(LinkError::new(
            import.at,
            "weak imports are not for edition 2024, use an option import",
        ));
    }
    // Imports are few; the reference count bounds them where they are not.
    let before = file.imports.iter().take(position);
    if position < MAX_IMPORTS && before.clone().any(|one| one.path == path) {
        return Err(LinkError::new(
            import.at,
            format!("import \"{path}\" was listed twice"),
        ));
    }
    if position >= MAX_IMPORTS {
        return Err(LinkError::new(
            import.at,
            format!("more than {MAX_IMPORTS} imports"),
        ));
    }
    Ok(())
}

/// Most imports of one file.
const MAX_IMPORTS: usize = 4096;

/// A file for the full runtime cannot import one for the lite runtime.
fn check_runtimes(loaded: &[Loaded<'_>]) -> Result<(), ParseError> {
    let lite = |node: &ProtoFile| {
        let is_lite = |option: &OptionNode| {
            option.is_plain("optimize_for")
                && option.value == Value::Word("LITE_RUNTIME".to_owned())
        };
        node.options.iter().any(is_lite)
    };
    for (position, file) in loaded.iter().enumerate() {
        if lite(file.source.node) {
            continue;
        }
        for (index, (_, place)) in file.imports.iter().enumerate() {
            let Some(imported) = loaded.get(*place).filter(|one| lite(one.source.node)) else {
                continue;
            };
            let at = file.source.node.imports.get(index);
            let error = LinkError::new(
                at.map_or_else(At::default, |import| import.at),
                format!(
                    "file \"{}\" is for the lite runtime, which this file is not",
                    imported.source.path
                ),
            );
            let path = file.source.path;
            return Err(error.in_file((position + 1 < loaded.len()).then_some(path)));
        }
    }
    Ok(())
}

/// The references and known files that declare types which `file` uses and does not import.
fn unimported<'a>(
    file: &ProtoFile,
    by_path: &HashMap<&'a str, &'a Reference>,
    declared: &HashMap<String, &'a str>,
) -> Vec<&'a str> {
    let mut extra: Vec<&'a str> = Vec::new();
    let mut names: Vec<&str> = used_names(file);
    if names.is_empty() {
        return extra;
    }
    let imported = imported_files(file, by_path);
    let mut seen: HashSet<&str> = file.imports.iter().map(|one| one.path.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        for candidate in candidates(file.package_name(), name) {
            if imported.contains(candidate.as_str()) {
                break;
            }
            let place = declared
                .get(&candidate)
                .copied()
                .or_else(|| bundled::file_of_type(&candidate));
            if let Some(path) = place {
                if seen.insert(path) {
                    extra.push(path);
                }
                break;
            }
        }
    }
    extra
}

/// The outermost types that `name` may mean in `package`, the innermost scope first.
fn candidates(package: &str, name: &str) -> Vec<String> {
    if let Some(full) = name.strip_prefix('.') {
        return prefixes(full).map(str::to_owned).collect();
    }
    let mut found = Vec::new();
    let mut scope = package;
    loop {
        found.extend(prefixes(name).map(|prefix| join(scope, prefix)));
        if scope.is_empty() {
            return found;
        }
        scope = parent(scope);
    }
}

/// `a`, `a.b`, `a.b.c` of `a.b.c`, the longest first; past a few parts none is a type's name.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    const MAX_PARTS: usize = 16;
    let ends = name.match_indices('.').map(|(end, _)| end).take(MAX_PARTS);
    let ends: Vec<usize> = ends.chain([name.len()]).collect();
    ends.into_iter().rev().filter_map(|end| name.get(..end))
}

/// Full names of the outermost types that the file and its imports declare.
fn imported_files(file: &ProtoFile, by_path: &HashMap<&str, &Reference>) -> HashSet<String> {
    let mut names: HashSet<String> = outermost(file).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = file.imports.iter().map(|one| one.path.as_str()).collect();
    while let Some(path) = open.pop() {
        if !seen.insert(path) {
            continue;
        }
        let referred = by_path.get(path).map(|one| &one.file);
        let Some(node) = referred.or_else(|| bundled::file(path).map(|(_, node)| node)) else {
            continue;
        };
        names.extend(outermost(node));
        let public = node
            .imports
            .iter()
            .filter(|one| one.kind == ImportKind::Public);
        open.extend(public.map(|one| one.path.as_str()));
    }
    names
}

fn outermost(file: &ProtoFile) -> impl Iterator<Item = String> {
    let messages = file.messages.iter().map(|message| &message.name);
    let enums = file.enums.iter().map(|enum_type| &enum_type.name);
    messages
        .chain(enums)
        .map(|name| join(file.package_name(), name))
}

/// What the file at `position` sees: itself, its imports, and what those import publicly.
pub(super) fn view(loaded: &[Loaded<'_>], position: usize) -> View {
    let mut files = vec![false; loaded.len()];
    let mut open = vec![position];
    let mut first = true;
    while let Some(place) = open.pop() {
        if let Some(seen) = files.get_mut(place) {
            *seen = true;
        }
        for (kind, place) in loaded.get(place).map_or(&[][..], |file| &file.imports) {
            let follows = match kind {
                ImportKind::Public => true,
                ImportKind::Plain | ImportKind::Weak => first,
                ImportKind::Option => false,
            };
            if follows && files.get(*place) == Some(&false) {
                open.push(*place);
            }
        }
        first = false;
    }
    let mut packages = HashSet::new();
    for (file, seen) in loaded.iter().zip(&files) {
        let mut package = file.source.node.package_name();
        while *seen && !package.is_empty() && packages.insert(package.to_owned()) {
            package = parent(package);
        }
    }
    View { files, packages }
}

/// As [`view`], with option imports too: what options are looked up in.
pub(super) fn option_view(loaded: &[Loaded<'_>], position: usize, plain: &View) -> View {
    let mut files = plain.files.clone();
    let mut packages = plain.packages.clone();
    let imports = loaded.get(position).map_or(&[][..], |file| &file.imports);
    for (_, place) in imports
        .iter()
        .filter(|(kind, _)| *kind == ImportKind::Option)
    {
        if let Some(seen) = files.get_mut(*place) {
            *seen = true;
        }
        let mut package = loaded
            .get(*place)
            .map_or("", |file| file.source.node.package_name());
        while !package.is_empty() {
            packages.insert(package.to_owned());
            package = parent(package);
        }
    }
    View { files, packages }
}
