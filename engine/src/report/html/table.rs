//! Tables of metrics: a line a class, the mean under them, percent with one decimal.

use super::super::tables::{Rows, metric_names, title};
use super::escape;
use crate::metrics::{ClassMetrics, Protocol, Value};
use crate::pipeline::model::Setting;

/// The table of one protocol, with what the protocol computes.
pub fn protocol(rows: &Rows, anchors: &[(String, String)], setting: Setting) -> String {
    let names = metric_names(&rows.classes);
    let name = escape(&rows.protocol);
    let about = Protocol::find(&rows.protocol);
    let mut html = format!("<h3>Protocol <code>{name}</code></h3>\n");
    if let Some(about) = &about {
        html.push_str(&format!("<p class=\"soft\">{}</p>\n", escape(&about.about)));
    }
    if rows.classes.is_empty() {
        return html + "<p>No class was measured.</p>\n";
    }
    html.push_str(&format!(
        "<div class=\"scroll\"><table><caption>Per class, in percent{}</caption>\n<thead><tr>\
         <th scope=\"col\">class</th><th scope=\"col\">images</th><th scope=\"col\">anomalous</th>\
         {}</tr></thead>\n<tbody>\n",
        oracle(setting),
        names.iter().map(|name| heading(name)).collect::<String>()
    ));
    for row in &rows.classes {
        let anchor = anchors.iter().find(|(class, _)| *class == row.class);
        let class = match anchor {
            Some((class, id)) => format!("<a href=\"#{id}\">{}</a>", escape(class)),
            None => escape(&row.class),
        };
        html.push_str(&line(row, &class, "", &names));
    }
    if let Some(mean) = rows.mean.as_ref().filter(|_| rows.classes.len() > 1) {
        let label = format!("mean of {}", rows.classes.len());
        html.push_str(&line(mean, &label, " class=\"mean\"", &names));
    }
    html.push_str("</tbody></table></div>\n");
    if let Some(about) = about {
        html.push_str(&format!(
            "<details><summary>What this protocol computes</summary><p>{}</p></details>\n",
            escape(about.explain)
        ));
    }
    html
}

/// What stands beside figures that only someone who knew the test's labels could have had.
pub fn oracle(setting: Setting) -> &'static str {
    if setting == Setting::Oracle { " <b class=\"oracle\">oracle</b>" } else { "" }
}

/// A value in percent; undefined ones show a dash that says why.
pub fn percent(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(value)) => format!("{:.1}", value * 100.0),
        Some(Value::Undefined(why)) => format!("<abbr title=\"{}\">–</abbr>", escape(why)),
        None => "<abbr title=\"this protocol does not compute it\">–</abbr>".to_owned(),
    }
}

fn heading(name: &str) -> String {
    let (level, metric) = title(name);
    format!("<th scope=\"col\"><small>{}</small>{}</th>", escape(level), escape(&metric))
}

fn line(row: &ClassMetrics, class: &str, kind: &str, names: &[&str]) -> String {
    let mut html = format!(
        "<tr{kind}><th scope=\"row\">{class}</th><td>{}</td><td>{}</td>",
        row.n_images, row.n_anomalous
    );
    for name in names {
        let value = row.get(name);
        let cell = percent(value);
        html.push_str(&match value.and_then(Value::get) {
            Some(x) => format!("<td class=\"v\" style=\"--x:{:.1}\">{cell}</td>", x * 100.0),
            None => format!("<td>{cell}</td>"),
        });
    }
    html + "</tr>\n"
}
