//! The five-minute tour is typed as it is printed, and prints what the page says it prints: processes of the real binary,
//! a shell, and `docs/tutorial/five-minutes.md`. Only the ports are others, and what differs from run to run (terms,
//! indexes, times, hashes, which node leads) is not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use quorate_tests::cluster::free_ports;
use quorate_tests::wait::{PATIENCE, until};
use tempfile::TempDir;

use crate::binary;
use crate::turn::{self, Turn};

/// One command, and what the page says it prints.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    section: String,
    command: String,
    printed: String,
}

/// Everything behind a prompt in the page's `console` blocks, in order, under the heading it stands below.
fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut section, mut in_console) = (Vec::<Step>::new(), String::new(), false);
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        } else if line.starts_with("```") {
            in_console = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_console) {
            let (section, command) = (section.clone(), command.to_owned());
            steps.push(Step { section, command, printed: String::new() });
        } else if let Some(step) = steps.last_mut().filter(|_| in_console) {
            step.printed.push_str(line);
            step.printed.push('\n');
        }
    }
    steps
}

/// The lines of an output as a set, without what differs from run to run.
fn likeness(output: &str) -> BTreeSet<String> {
    let word = |word: &str| {
        let is_hash = word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        // How large the reader's disk is.
        let is_unit = matches!(word, "KiB" | "MiB" | "GiB" | "TiB");
        let number = |c: char| if c.is_ascii_digit() { '#' } else { c };
        let mut word: String = if is_unit {
            "B".into()
        } else if is_hash {
            "#".into()
        } else {
            word.chars().map(number).collect()
        };
        while word.contains("##") {
            word = word.replace("##", "#");
        }
        // A size with a part of its unit, and a time.
        if word == "#.#" { "#".to_owned() } else { word }
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    output.lines().map(line).filter(|line| !line.is_empty()).collect()
}

/// A reader who follows the page.
struct Visitor {
    directory: TempDir,
    ports: BTreeMap<String, String>,
    exports: Vec<(String, String)>,
    /// By name: the command that started it, and the process.
    nodes: BTreeMap<String, (String, Child)>,
    _turn: Turn,
}

impl Visitor {
    fn new() -> Result<Self> {
        let turn = turn::light();
        let printed = ["7000", "7001", "7002", "8000", "8001", "8002"].map(str::to_owned);
        let ports = free_ports(printed.len())?.into_iter().map(|port| port.to_string());
        let ports = printed.into_iter().zip(ports).collect();
        let (directory, exports, nodes) = (tempfile::tempdir()?, Vec::new(), BTreeMap::new());
        Ok(Self { directory, ports, exports, nodes, _turn: turn })
    }

    fn with_ports(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (printed, ours)| {
            text.replace(&format!(":{printed}"), &format!(":{ours}"))
                .replace(&format!("port {printed}"), &format!("port {ours}"))
        })
    }

    fn shell(&self, command: &str) -> Result<Command> {
        let bin = binary::binary().parent().context("the binary is in a directory")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec {}", self.with_ports(command))]).current_dir(self.directory.path());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_"))
        {
            shell.env_remove(name);
        }
        shell.env("PATH", format!("{}:{path}", bin.display())).stdin(Stdio::null());
        shell.envs(self.exports.iter().map(|(name, value)| (name, value)));
        Ok(shell)
    }

    /// Starts a node as a terminal would, and returns what it prints first.
    fn serve(&mut self, command: &str) -> Result<String> {
        let id = command.split_whitespace().skip_while(|word| *word != "--id").nth(1);
        let id = id.context("a node has a name")?.to_owned();
        let said = self.directory.path().join(format!("{id}.out"));
        let output = std::fs::File::create(&said)?;
        let child = self.shell(command)?.stdout(output).stderr(Stdio::null()).spawn()?;
        self.nodes.insert(id, (command.to_owned(), child));
        let (said, _) = until("a node says where it is", PATIENCE, || {
            let text = std::fs::read_to_string(&said).ok()?;
            text.contains("data_dir").then_some(text)
        })?;
        Ok(said)
    }

    fn signal(&mut self, id: &str, signal: &str) -> Result<()> {
        let (_, child) = self.nodes.get_mut(id).context("it was started")?;
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status()?;
        ensure!(sent.success(), "{signal} was not sent to {id}");
        until("it ends", PATIENCE, || child.try_wait().transpose())?.0?;
        Ok(())
    }

    /// Runs a command to its end; data and messages, as a terminal shows them.
    fn run(&self, command: &str) -> Result<String> {
        let output = self.shell(command)?.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(text(&output.stdout) + &text(&output.stderr))
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        for (_, child) in self.nodes.values_mut() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn page() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tutorial/five-minutes.md");
    Ok(std::fs::read_to_string(path)?)
}

#[test]
fn the_tour_prints_what_its_page_prints() -> Result<()> {
    let page = page()?;
    let announced = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    let announced = likeness(announced.context("the page shows what a node says")?);
    let mut visitor = Visitor::new()?;
    let (mut section, mut commands) = (String::new(), 0);
    let mut killed = None;
    for step in steps(&page) {
        if step.section != section {
            section.clone_from(&step.section);
            match section.as_str() {
                // "Start that node again with the same command as before."
                "Bring it back" => {
                    let id: String = killed.take().context("a node was killed before")?;
                    let command = visitor.nodes[&id].0.clone();
                    visitor.serve(&command)?;
                }
                // "Stop node0 with Ctrl-C."
                "Look at the disk" => visitor.signal("node0", "INT")?,
                _ => {}
            }
        }
        let command = step.command.as_str();
        if command == "cargo build --release" || command.starts_with("export PATH=") {
            // This test's own binary stands for it.
            continue;
        }
        if let Some(export) = command.strip_prefix("export ") {
            let (name, value) = export.split_once('=').context("a name and a value")?;
            visitor.exports.push((name.to_owned(), visitor.with_ports(value)));
            continue;
        }
        commands += 1;
        if command.starts_with("quorate serve ") {
            let said = visitor.serve(command)?;
            assert_eq!(likeness(&said), announced, "{command}");
            continue;
        }
        let said = visitor.run(command)?;
        assert_eq!(likeness(&said), likeness(&step.printed), "{command}\n{said}");
        if command == "quorate leader show" {
            let leader = said.split_whitespace().nth(1).context("a leader is shown")?.to_owned();
            visitor.signal(&leader, "KILL")?;
            killed = Some(leader);
        }
    }
    assert!(
        commands >= 15 && section == "Look at the disk",
        "the page has lost its steps: {commands}, {section}"
    );
    Ok(())
}

#[test]
fn a_difference_that_matters_is_seen() {
    assert_eq!(
        likeness("node0  leader  12\nnode1  follower 3"),
        likeness("node1 follower 7\nnode2 leader 9")
    );
    assert_ne!(likeness("node0 leader 1"), likeness("node0 candidate 1"));
    assert_ne!(likeness("hello"), likeness("hello\nerror: 1"));
    assert_eq!(likeness("6 3 command 43 46c0c3840edd5cff"), likeness("5 2 command 9 f000c3840edd5cf0"));
}
