//! What the test scripts check of a lesson, for the end of its chapter.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::lessons::Lesson;

/// The functions in `tests/lib.sh` that judge an answer. Their first argument is the name of the check.
const JUDGES: [&str; 6] = ["header", "json", "no_header", "refusal", "status", "verdict"];

/// A section with the names of a lesson's checks in `tests/lessons.sh`; empty if it has none.
pub fn section(root: &Path, lesson: &Lesson) -> Result<String> {
    let text = fs::read_to_string(root.join("tests/lessons.sh")).context("cannot read tests/lessons.sh")?;
    let (id, step) = (&lesson.id, lesson.step);
    let names = names(&text, id);
    if names.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "\n## Check it\n\n`cargo xtask check {step} --only {id}` judges yours, which `cargo xtask start {step}` begins. \
         `tests/test_step{step}.sh --only {id}` judges ours. Both check:\n\n- {}\n",
        names.join("\n- ")
    ))
}

fn names<'a>(text: &'a str, id: &str) -> Vec<&'a str> {
    let start = format!("lesson_{}() {{", id.replace('.', "_"));
    let body = text.lines().skip_while(|line| *line != start).skip(1).take_while(|line| *line != "}");
    let name = |line: &'a str| {
        let (judge, rest) = line.trim_start().split_once(" '")?;
        let (name, _) = rest.split_once('\'')?;
        JUDGES.contains(&judge).then_some(name)
    };
    body.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_of_one_lesson_are_named_and_no_others() {
        let text = "lesson_1_1() {\n    get /health\n    json 'up' 200 '.a'\n    status 'no more' 404\n}\nlesson_1_2() {\n    status 'b' 200\n}\n";
        assert_eq!(names(text, "1.1"), ["up", "no more"]);
        assert_eq!(names(text, "1.2"), ["b"]);
        assert_eq!(names(text, "A1"), [""; 0]);
    }
}
