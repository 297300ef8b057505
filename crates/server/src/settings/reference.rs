//! The pages under docs/reference, made from what the binary is made of. A test compares them.

use std::fmt::Write;

use super::table::{SETTINGS, Scope};

/// The page config.md.
pub(crate) fn config_page() -> String {
    let mut page = String::from(
        "# Settings\n\nThis page is made by `quorate reference config`; a test compares it with the binary.\n\n\
         A setting is taken from the flag, else from the `QUORATE_*` variable, else from the TOML file named by \
         `--config` (or `QUORATE_CONFIG`), else from its default. No file is read unless it is named. `quorate config \
         print` shows every value with its source, `quorate config check` says what is wrong. A key that \
         is not known is an error that names the nearest one. So is a variable for `serve`, `dev` and `config`; for all \
         other commands it is a warning on standard error. What Kubernetes sets for a service whose name begins with \
         `quorate` is passed over: `QUORATE_*_SERVICE_HOST`, `QUORATE_*_SERVICE_PORT*`, `QUORATE_*_PORT_80_TCP*`, and \
         `QUORATE_*_PORT` where its value is an address as `tcp://10.0.0.1:80`.\n\nWhat is empty is a value, \
         from a flag, a variable and the file alike: `cluster_token` and `allowed_hosts` may be empty, any other setting is \
         refused then, by its name and source. So is a value that is not UTF-8. To leave a setting out, do not set its variable.\n\nA list has commas between its items in a flag \
         or a variable, and is an array in the file.\n",
    );
    for (title, wanted) in [
        ("Every command", Scope::Any),
        ("Commands that talk to a cluster", Scope::Client),
        ("`serve` and `dev`", Scope::Server),
    ] {
        write!(
            page,
            "\n## {title}\n\n| key | flag | variable | is | default | |\n|---|---|---|---|---|---|\n"
        )
        .expect("writing to a string does not fail");
        for setting in SETTINGS.iter().filter(|setting| setting.scope == wanted) {
            let default = setting.default.as_deref().unwrap_or_default();
            let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
            let (key, flag) = (setting.key, setting.key.replace('_', "-"));
            let (kind, about) = (setting.form.name(), setting.about);
            let variable = setting.variable();
            writeln!(page, "| `{key}` | `--{flag}` | `{variable}` | {kind} | {default} | {about} |")
                .expect("writing to a string does not fail");
        }
    }
    page.push_str(&tuning());
    page.push_str(EXAMPLE);
    page
}

fn tuning() -> String {
    let mut page = String::from(
        "\n## Tuning\n\nThe defaults are meant to be left alone. `--set KEY=VALUE` for `serve`, `dev` and `config`, as \
         often as needed.\n\n| key in the file | `--set` | variable | is | default | |\n|---|---|---|---|---|---|\n",
    );
    for setting in SETTINGS.iter().filter(|setting| setting.is_tuning()) {
        let (path, key, about) = (setting.path(), setting.key, setting.about);
        let (variable, default) = (setting.variable(), setting.default.as_deref().unwrap_or_default());
        let range = setting.form.name();
        writeln!(page, "| `{path}` | `{key}` | `{variable}` | {range} | {default} | {about} |")
            .expect("writing to a string does not fail");
    }
    page
}

const EXAMPLE: &str = "
## A file

```toml
id = \"node0\"
host = \"0.0.0.0\"
port = 7000
cluster = [\"node0=db0.example:7000\", \"node1=db1.example:7000\", \"node2=db2.example:7000\"]
api_port = 8000
data_dir = \"/var/lib/quorate\"
log_format = \"json\"

[tuning.live]
call_timeout_ms = 3000
```
";
