//! No file uses an item of a file that uses an item of it, directly or through others: then neither can be read, tested or
//! moved without the other. Names are followed through re-exports to the file that defines them; a file that only declares
//! modules and passes their names on uses nothing. What is compiled for tests alone does not count, nor does a method call:
//! it names no item.
//!
//! `QUORATE_TREE=DIRECTORY` looks at another checkout.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;

use crate::repository::{from_top, list, metadata, text};
use crate::source::modules::{Target, Use};

/// Lines of a function and of a file, without tests, above which a split is looked for.
const FUNCTION_LINES: usize = 60;
const FILE_LINES: usize = 500;

/// Where a file names an item of another file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    line: usize,
    path: String,
}

/// By the file that names and the file that defines.
type Graph = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<Arrow>>>;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A module.
    Module(usize, usize),
    /// An item that this module of this target defines.
    Item(usize, usize),
}

/// The targets of one crate that are no tests: its library and its binaries.
#[derive(Debug, Default)]
pub(crate) struct Package {
    /// What the library is called in paths.
    library: Option<String>,
    pub(crate) targets: Vec<Target>,
    library_at: usize,
}

impl Package {
    fn file(&self, (Place::Module(target, module) | Place::Item(target, module)): Place) -> &PathBuf {
        &self.targets[target].modules[module].file
    }

    /// What `path` leads to from inside a module; nothing if it leads out of the crate.
    fn resolve(
        &self,
        from: (usize, usize),
        path: &[String],
        seen: &mut Vec<(usize, usize, String)>,
    ) -> Option<Place> {
        let (target, mut module) = from;
        let modules = &self.targets[target].modules;
        let mut rest = path;
        let mut place = match path.first()?.as_str() {
            "crate" => {
                rest = &rest[1..];
                Place::Module(target, 0)
            }
            "self" | "super" => {
                while let Some(word @ ("self" | "super")) = rest.first().map(String::as_str) {
                    if word == "super" {
                        module = modules[module].parent?;
                    }
                    rest = &rest[1..];
                }
                Place::Module(target, module)
            }
            first => {
                rest = &rest[1..];
                let inside = self.look_up(from, first, !rest.is_empty(), seen);
                let is_library = self.library.as_deref() == Some(first);
                inside.or_else(|| is_library.then_some(Place::Module(self.library_at, 0)))?
            }
        };
        for (at, word) in rest.iter().enumerate() {
            match place {
                Place::Module(target, module) => {
                    place = self.look_up((target, module), word, at + 1 < rest.len(), seen)?;
                }
                // A variant, a function or a constant of the item.
                Place::Item(..) => break,
            }
        }
        Some(place)
    }

    /// What a name means in a module. `leads_on`: more of the path follows, so it is a module or a type.
    fn look_up(
        &self,
        (target, module): (usize, usize),
        name: &str,
        leads_on: bool,
        seen: &mut Vec<(usize, usize, String)>,
    ) -> Option<Place> {
        let of = &self.targets[target].modules[module];
        let child = of.children.get(name).filter(|child| !self.targets[target].modules[**child].is_test);
        let child = child.map(|child| Place::Module(target, *child));
        let item = of.items.contains_key(name).then_some(Place::Item(target, module));
        let here = if leads_on { child.or(item) } else { item.or(child) };
        if here.is_some() {
            return here;
        }
        let step = (target, module, name.to_owned());
        if seen.contains(&step) {
            return None;
        }
        seen.push(step);
        let named = of.imports.iter().filter(|(import, _)| import.name.as_deref() == Some(name));
        let mut found =
            named.filter_map(|(import, _)| self.resolve((target, module), &import.segments, seen));
        if let Some(found) = found.next() {
            return Some(found);
        }
        for (import, _) in of.imports.iter().filter(|(import, _)| import.name.is_none()) {
            if let Some(Place::Module(of_target, of_module)) =
                self.resolve((target, module), &import.segments, seen)
                && let Some(found) = self.look_up((of_target, of_module), name, leads_on, seen)
            {
                return Some(found);
            }
        }
        of.made.contains_key(name).then_some(Place::Item(target, module))
    }

    /// A macro is known by its name from its definition on, in the whole target.
    fn macro_of(&self, target: usize, name: &str) -> Option<Place> {
        let modules = &self.targets[target].modules;
        let defined = modules.iter().position(|module| !module.is_test && module.items.contains_key(name))?;
        Some(Place::Item(target, defined))
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (target, modules) in self.targets.iter().enumerate() {
            for (id, module) in modules.modules.iter().enumerate().filter(|(_, module)| !module.is_test) {
                let here = module.imports.iter().filter(|(_, purpose)| *purpose == Use::Here);
                let imports = here.map(|(import, _)| (&import.segments, import.line));
                let named = module.named.iter().filter(|named| !named.may_be_local);
                for (path, line) in imports.chain(named.map(|named| (&named.segments, named.line))) {
                    let last = path.last().map_or("", String::as_str);
                    let place = if path.len() == 1 && last.ends_with('!') {
                        self.macro_of(target, last)
                    } else {
                        self.resolve((target, id), path, &mut Vec::new())
                    };
                    // A module that is named is not yet a use of what is inside.
                    let Some(place @ Place::Item(..)) = place else { continue };
                    let (from, to) = (&module.file, self.file(place));
                    if from != to {
                        let arrow = Arrow { line, path: path.join("::") };
                        graph.entry(from.clone()).or_default().entry(to.clone()).or_default().insert(arrow);
                    }
                }
            }
        }
        graph
    }
}

/// Groups of files that reach each other, each of more than one file.
fn circles(graph: &Graph) -> Vec<BTreeSet<PathBuf>> {
    let reach = |from: &PathBuf| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for next in graph.get(file).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&PathBuf, BTreeSet<PathBuf>> =
        graph.keys().map(|file| (file, reach(file))).collect();
    let mut found: Vec<BTreeSet<PathBuf>> = Vec::new();
    for (file, all) in &reached {
        let back = all.iter().filter(|other| reached.get(other).is_some_and(|all| all.contains(*file)));
        let circle: BTreeSet<PathBuf> = back.cloned().collect();
        if circle.len() > 1 && !found.contains(&circle) {
            found.push(circle);
        }
    }
    found
}

/// The circles of a crate, with the arrows that make them.
fn told(graph: &Graph, circles: &[BTreeSet<PathBuf>]) -> String {
    let mut told = String::new();
    for circle in circles {
        let _ = writeln!(told, "  a circle of {} files:", circle.len());
        for from in circle {
            for (to, arrows) in graph.get(from).into_iter().flatten().filter(|(to, _)| circle.contains(*to)) {
                let each: Vec<String> =
                    arrows.iter().map(|arrow| format!("{}:{}", arrow.line, arrow.path)).collect();
                let _ = writeln!(told, "    {} -> {}  {}", from_top(from), from_top(to), each.join(" "));
            }
        }
    }
    told
}

/// Every crate of the workspace by its name.
pub(crate) fn packages() -> Result<BTreeMap<String, Package>> {
    let metadata = metadata(&["--no-deps"])?;
    let mut packages = BTreeMap::new();
    for found in list(&metadata, "packages") {
        let mut package = Package::default();
        for target in list(found, "targets") {
            let is = |what: &str| list(target, "kind").any(|kind| kind.as_str() == Some(what));
            if is("lib") {
                package.library = Some(text(target, "name").replace('-', "_"));
                package.library_at = package.targets.len();
            }
            if is("lib") || is("bin") {
                package.targets.push(Target::read(text(target, "src_path").as_ref())?);
            }
        }
        packages.insert(text(found, "name").to_owned(), package);
    }
    Ok(packages)
}

#[test]
fn no_file_uses_a_file_that_uses_it() -> Result<()> {
    let mut wrong = String::new();
    for (name, package) in packages()? {
        let graph = package.graph();
        let circles = circles(&graph);
        println!("{name}: {} files, {} circles", package.file_count(), circles.len());
        wrong.push_str(&told(&graph, &circles));
    }
    assert!(wrong.is_empty(), "files that use each other:\n{wrong}");
    Ok(())
}

impl Package {
    fn file_count(&self) -> usize {
        self.targets.iter().flat_map(|target| target.lines.keys()).collect::<BTreeSet<_>>().len()
    }
}

/// Lines without tests, for `docs/evidence/house.md`: printed, and no failure.
#[test]
fn sizes_are_told() -> Result<()> {
    println!(
        "| crate | files | lines without tests | circles | largest circle | functions above {FUNCTION_LINES} | files above {FILE_LINES} |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, package) in packages()? {
        let mut files: BTreeMap<&PathBuf, usize> = BTreeMap::new();
        let mut long = BTreeSet::new();
        for target in &package.targets {
            for (file, lines) in &target.lines {
                let tests = target.test_lines.get(file).map_or(0, BTreeSet::len);
                files.insert(file, lines.saturating_sub(tests));
            }
            for module in target.modules.iter().filter(|module| !module.is_test) {
                let above = module.functions.iter().filter(|(.., lines)| *lines > FUNCTION_LINES);
                long.extend(above.map(|(function, line, lines)| {
                    format!("{}:{line} {function} has {lines} lines", from_top(&module.file))
                }));
            }
        }
        files.retain(|_, lines| *lines > 0);
        let circles = circles(&package.graph());
        let largest = circles.iter().map(BTreeSet::len).max().unwrap_or(0);
        let large: Vec<_> = files.iter().filter(|(_, lines)| **lines > FILE_LINES).collect();
        println!(
            "| {name} | {} | {} | {} | {largest} | {} | {} |",
            files.len(),
            files.values().sum::<usize>(),
            circles.len(),
            long.len(),
            large.len()
        );
        for function in long {
            println!("<!-- {function} -->");
        }
        for (file, lines) in large {
            println!("<!-- {} has {lines} lines -->", from_top(file));
        }
    }
    Ok(())
}

/// The circles in a library of these files; the first is its root.
fn circles_of(files: &[(&str, &str)]) -> Result<Vec<Vec<String>>> {
    let package =
        Package { library: Some("own".into()), targets: vec![Target::of_text(files)?], library_at: 0 };
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(circles(&package.graph()).iter().map(|circle| circle.iter().filter_map(name).collect()).collect())
}

#[test]
fn a_circle_through_a_reexport_is_seen() -> Result<()> {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; pub use a::First as Renamed; pub use self::b::*;"),
        ("a.rs", "use crate::Second; pub struct First(Second);"),
        ("b.rs", "pub struct Second; fn f() { let _ = crate::Renamed::new(); }"),
    ])?;
    assert_eq!(found, [["a.rs", "b.rs"]]);
    Ok(())
}

#[test]
fn a_parent_that_passes_names_on_is_no_circle() -> Result<()> {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; pub use a::First; pub(crate) use b::Second;"),
        ("a.rs", "use super::Second; pub struct First(Second);"),
        (
            "b.rs",
            "pub struct Second; #[cfg(test)] mod tests { use crate::First; fn f() -> First { crate::a::g() } }",
        ),
    ])?;
    assert!(found.is_empty(), "{found:?}");
    Ok(())
}

#[test]
fn a_child_that_uses_what_its_parent_defines_is_a_circle() -> Result<()> {
    let lib = "mod child; pub struct Options; fn f() { child::run(&Options); }";
    let found = circles_of(&[("lib.rs", lib), ("child.rs", "pub fn run(_: &super::Options) {}")])?;
    assert_eq!(found, [["child.rs", "lib.rs"]]);
    Ok(())
}

#[test]
fn circles_are_seen_through_globs_nested_trees_macros_and_the_librarys_own_name() -> Result<()> {
    let cases: [&[(&str, &str)]; 4] = [
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::*; pub fn first() { second(); }"),
            ("b.rs", "pub fn second() { super::a::first() }"),
        ],
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use super::{b::{self, Second as _}}; pub struct First; fn f() { b::g(); }"),
            ("b.rs", "pub struct Second; pub fn g() {} type Own = own::a::First;"),
        ],
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "macro_rules! first { () => {} } pub struct Second(crate::b::Third);"),
            ("b.rs", "pub struct Third; fn f() { first!(); }"),
        ],
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "number!(First); impl First { fn f(x: Vec<crate::b::Second>) {} }"),
            ("b.rs", "pub struct Second; fn f() { let x = Some(crate::a::First(1)); }"),
        ],
    ];
    for files in cases {
        assert_eq!(circles_of(files)?, [["a.rs", "b.rs"]], "{files:?}");
    }
    Ok(())
}

#[test]
fn names_that_are_local_or_of_other_crates_make_no_circle() -> Result<()> {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; pub use a::step;"),
        ("a.rs", "use crate::b::Second; pub fn step(s: Second) { s.take(); }"),
        (
            "b.rs",
            "use super::*; pub struct Second { step: u8 } impl Second { fn take(self) { let step = self.step; f(other::step) } }",
        ),
    ])?;
    assert!(found.is_empty(), "{found:?}");
    Ok(())
}
