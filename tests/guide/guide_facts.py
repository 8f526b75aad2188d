"""What the guide has to know: one Fact for each entry of the program's tables and for each topic of topics.txt.

The tables are the dump that guide_tables writes, never a copy. An answer that names an option, key or command which is
not in them stops the generator: the guide cannot be trained to tell what the program does not have.
"""
import json
import os
import random
import re
import typing


class Fact:
    def __init__(self, ident, answer, names=(), must=()):
        self.id = ident
        self.answer = answer
        self.names = list(names)  # how people call the entry itself: "--temp", "F2", "/fork"
        self.must = list(must)  # what a right answer names
        self.goals, self.nouns, self.questions, self.held = [], [], [], []


def words_or(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " or " + items[-1]


def keys_of(text):
    return [key.strip().split(" on ")[0] for key in text.split(",") if key.strip()]


def sentence(text):
    return text if text.endswith(".") else text + "."


def option_fact(row, ident):
    commands = [name for name in row["commands"] if name]
    lead = "" if "" in row["commands"] else "ferrum-chat " + commands[0] + " "
    help_text = row["help"]
    if lead == "ferrum-chat sessions " and help_text.startswith("show: "):
        lead, help_text = "ferrum-chat sessions show ID ", help_text[len("show: ") :]
    arg = " " + row["arg"] if row["arg"] else ""
    name = "--" + row["name"]
    short = " (short: -" + row["short"] + ")" if row["short"] else ""
    tail = []
    if row["choices"]:
        tail.append("one of " + ", ".join(row["choices"].split("|")))
    if row["default"]:
        tail.append("default: " + row["default"])
    answer = sentence(f"{lead}{name}{arg}{short}: {help_text}" + (f" ({'; '.join(tail)})" if tail else ""))
    names = [name] + (["-" + row["short"]] if row["short"] and "" in row["commands"] else [])
    return Fact(ident, answer, names, [name])


def action_fact(row):
    keys = keys_of(row["keys"])
    command = "/" + row["command"] if row["command"] else ""
    typed = command + (" " + row["hint"] if row["hint"] else "")
    how, where, help_text = [], "", row["help"]
    if help_text.startswith("profile: "):
        where, help_text = "In the profile, ", help_text[len("profile: ") :]
    if row["keys"]:
        how.append("press " + words_or([key.strip() for key in row["keys"].split(",")]))
    if command:
        how.append("type " + typed)
    said = where + " or ".join(how) + ": " + help_text
    answer = sentence(said[0].upper() + said[1:])
    must = keys[:1] + ([command] if command else [])
    return Fact("action:" + row["id"], answer, keys + ([command] if command else []), must)


NOT_PRESSED = {"//text": "Type ", "Wheel": "Turn the mouse's ", "Shift + mouse": "Use "}


def key_fact(row):
    how = words_or([key.strip() for key in row["keys"].split(",")])
    lead = row["where"] + ", press " if row["where"] else NOT_PRESSED.get(row["keys"], "Press ")
    return Fact("key:" + row["id"], sentence(f"{lead}{how}: {row['help']}"), keys_of(row["keys"]), [how])


def table_facts(tables):
    facts, seen = [], set()
    for row in tables["options"]:
        ident = "option:" + row["name"]
        if ident in seen:
            ident += ":" + row["commands"][0]
        seen.add(ident)
        facts.append(option_fact(row, ident))
    facts += [action_fact(row) for row in tables["actions"]]
    facts += [key_fact(row) for row in tables["keys"]]
    for row in tables["commands"]:
        if row["name"]:
            name = "ferrum-chat " + row["name"]
            answer = sentence("ferrum-chat " + row["usage"].replace(" <TEXT", " < TEXT") + ": " + row["help"])
            facts.append(Fact("command:" + row["name"], answer, [name], [name]))
    for row in tables["exit_codes"]:
        answer = sentence(f"Exit code {row['name']} means: {row['help']}")
        facts.append(Fact("exit:" + row["name"], answer, ["exit code " + row["name"]], ["Exit code " + row["name"] + " "]))
    for row in tables["files"]:
        base = row["name"].rsplit("/", 1)[1]
        facts.append(Fact("file:" + base, sentence(f"{row['name']}: {row['help']}"), [row["name"]], [row["name"]]))
    for row in tables["environment"]:
        answer = sentence(f"{row['name']} is an environment variable: {row['help']}")
        facts.append(Fact("env:" + row["name"], answer, [row["name"]], [row["name"]]))
    return facts


def split_phrases(line):
    return [part.strip() for part in line.split(";") if part.strip()]


def add_line(fact, kind, text):
    if kind == "+":
        fact.answer += " " + text
    elif kind == "f":
        fact.must = split_phrases(text)
    else:
        {"g": fact.goals, "n": fact.nouns, "q": fact.questions, "h": fact.held}[kind].extend(split_phrases(text))


def read_topics(path, by_id):
    """Adds what people ask to the facts; returns the entries that are in no table."""
    missing, fact, ident = [], None, None
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n").strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("= "):
                ident = line[2:].strip()
                fact = by_id.get(ident)
                if not fact and not ident.startswith("topic:"):
                    missing.append(ident)
                continue
            kind, text = line.split(":", 1)
            if kind == "a":
                fact = by_id[ident] = Fact(ident, text.strip())
            elif fact:
                add_line(fact, kind, text.strip())
    return missing


SMALL_WORDS = set("a an the i my it is are do does to of in on and or for me how can what which with this that be".split())


def content(text):
    return {word.strip(".-/") or word for word in re.findall(r"[a-z0-9./-]+", text.lower()) if word not in SMALL_WORDS}


def read_followups(path, by_id):
    """What people ask after an answer: ([(entries answered before, [(entry asked for, its phrases)])], {kind of entry: phrases
    that ask for more about it})."""
    groups, more, current = [], {}, None
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("= "):
                current = None if line == "= SAME" else []
                if current is not None:
                    groups.append(({ident for ident in line[2:].split()}, current))
                continue
            ident, text = line.split(": ", 1) if current is not None else line.split(":", 1)
            if current is None:
                more[ident] = split_phrases(text)
            elif ident in by_id:
                current.append((ident, split_phrases(text)))
    return groups, more


class HeldOut:
    """Tells what says nearly the same as a held-out question. A question of one word, as a name alone, is nobody's secret."""

    def __init__(self, questions):
        self.held = [words for words in map(content, questions) if len(words) > 1]
        self.with_word = {}
        for i, words in enumerate(self.held):
            for word in words:
                self.with_word.setdefault(word, []).append(i)

    def is_near(self, text, limit):
        """Whether the words in both are at least this share of all words in either."""
        words, shared = content(text), {}
        for word in words:
            for i in self.with_word.get(word, ()):
                shared[i] = shared.get(i, 0) + 1
        return any(n >= limit * (len(words) + len(self.held[i]) - n) for i, n in shared.items())


NEAR, NEAR_IN_FRAME = 0.6, 0.75


def keep_apart(facts, held):
    """Spells all alternatives out, and takes out of training what says nearly the same as a held-out question."""
    for fact in facts:
        for name, limit in (("goals", NEAR_IN_FRAME), ("nouns", NEAR_IN_FRAME), ("questions", NEAR)):
            spelt = [[p for p in expansions(phrase) if not held.is_near(p, limit)] for phrase in getattr(fact, name)]
            setattr(fact, name, [phrases for phrases in spelt if phrases])


def read_questions(path, by_id):
    """The questions of people who did not see the training text: [(facts that answer it rightly, question)]"""
    with open(path, encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file if line.strip() and not line.startswith("#")]
    return [([by_id[ident] for ident in idents.split("|") if ident in by_id], question) for idents, question in rows]


NAMED = re.compile(r"(?<![\w/.~-])(--[a-z][a-z0-9-]*|/[a-z]+\b(?![/.])|(?:Alt|Ctrl)-[A-Za-z]+|F(?:1[0-2]|[1-9])\b|PgUp|PgDn|Esc\b)")
FOREIGN = {"--preset", "--build", "--install", "--prefix", "/text"}  # cmake's, in the sentence about installing; the example of //text


def known_names(tables):
    names = {"--" + row["name"] for row in tables["options"]} | FOREIGN
    for row in tables["keys"]:
        names |= set(keys_of(row["keys"]))
    for row in tables["actions"]:
        names |= set(keys_of(row["keys"]))
        if row["command"]:
            names.add("/" + row["command"])
    return names


def invented(answer, names):
    """Options, keys and commands in the answer that the tables do not have."""
    found = {name for name in NAMED.findall(answer) if name not in names}
    for name in re.findall(r"(?<![\w/])ferrum-chat ([a-z]+)\b(?!\.\w)", answer):
        if "ferrum-chat " + name not in names and name not in ("does", "is", "and"):
            found.add("ferrum-chat " + name)
    return sorted(found)


class Known(typing.NamedTuple):
    facts: list
    names: set  # that answers may have
    missing: list  # entries that people ask about and that are in no table
    held: HeldOut
    others: list  # questions.txt
    followups: tuple  # followups.txt


def load(tables_path):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(tables_path, encoding="utf-8") as file:
        tables = json.load(file)
    by_id = {fact.id: fact for fact in table_facts(tables)}
    missing = read_topics(os.path.join(here, "topics.txt"), by_id)
    missing += read_topics(os.path.join(here, "phrases.txt"), by_id)
    facts = list(by_id.values())
    others = read_questions(os.path.join(here, "questions.txt"), by_id)
    held = HeldOut([question for fact in facts for question in fact.held] + [question for _, question in others])
    keep_apart(facts, held)
    names = known_names(tables) | {"ferrum-chat " + row["name"] for row in tables["commands"]}
    for fact in facts:
        wrong = invented(fact.answer, names)
        if wrong:
            raise SystemExit(f"{fact.id}: the answer names what the program does not have: {', '.join(wrong)}")
    return Known(facts, names, missing, held, others, read_followups(os.path.join(here, "followups.txt"), by_id))


def entries(facts):
    """What a model knows, as lines "id<TAB>answer": kept in its file, compared with the program's tables by tests."""
    return [fact.id + "\t" + fact.answer for fact in facts if not fact.id.startswith("topic:")]


MOST = 400  # spellings of one phrase


def expansions(text):
    """The alternatives of {a|b} spelt out; a choice of them where they are too many."""
    out = [text]
    while any("{" in phrase for phrase in out):
        more = []
        for phrase in out:
            m = re.search(r"\{([^{}]*)\}", phrase)
            more += [phrase[: m.start()] + one + phrase[m.end() :] for one in m.group(1).split("|")] if m else [phrase]
        out = more if len(more) <= MOST else random.Random(text).sample(more, MOST)
    return [re.sub(r"\s+", " ", phrase).strip() for phrase in out]


def is_right(fact, answer):
    return all(word.lower() in answer.lower() for word in fact.must)
