"""The guide's training text: facts times frames, synonyms, typos and small talk, as chats of several turns.

Text(known).chat(rng) gives a list of (question, answer). Everything random comes from the rng that is passed in, so that a
seed makes the same text again. held_out() gives the questions that training never sees: those of the h: lines, and
facts in frames that are not trained on.
"""
import random
import re

import guide_facts
import guide_words as w

KEYBOARD = "qwertyuiop asdfghjkl zxcvbnm"
# What of all questions asks for something else, for names that do not exist, small talk, a fact.
SHARES = [("refuse", 0.11), ("unknown", 0.03), ("small", 0.04), ("fact", 0.82)]
SMALL_TALK = ("topic:hello", "topic:thanks", "topic:bye", "topic:who")


def typo(word, rng):
    if len(word) < 4:
        return word
    i = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:i] + word[i + 1 :]
    if kind == 1:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if kind == 2:
        return word[:i] + word[i] + word[i:]
    at = KEYBOARD.find(word[i].lower())
    near = KEYBOARD[min(at + 1, len(KEYBOARD) - 1)] if at >= 0 else word[i]
    return word[:i] + (near if near != " " else "a") + word[i + 1 :]


KEPT_BACK = 10  # every tenth phrase of a follow-up is held out


def learnt(phrases):
    return [phrase for i, phrase in enumerate(phrases) if i % KEPT_BACK != KEPT_BACK - 1]


class Text:
    def __init__(self, known):
        facts, self.held = known.facts, known.held
        self.groups, self.more = known.followups
        self.facts = {fact.id: fact for fact in facts}
        self.ids = [ident for ident in self.facts if ident not in ("topic:refuse", "topic:unknown")]
        self.frames = {name: w.phrases(text) for name, text in
                       [("goal", w.GOAL_FRAMES), ("noun", w.NOUN_FRAMES), ("name", w.NAME_FRAMES), ("key", w.KEY_FRAMES),
                        ("option", w.OPTION_FRAMES), ("repeat", w.REPEATS), ("link", w.LINKS), ("before", w.BEFORE),
                        ("after", w.AFTER), ("subject", w.SUBJECTS), ("unknown", w.UNKNOWN_FRAMES)]}
        wraps = w.wraps()
        for name in ("goal", "noun"):
            self.frames[name] += wraps[name + " frames"]
        self.frames["subject"] += wraps["other subjects"]
        self.around = [self.frames["before"], wraps["before"]], [self.frames["after"], wraps["after"]]
        self.synonyms = w.synonym_table()
        self.kept_words = {word for fact in facts for name in fact.names for word in name.split()}

    # ---- one question ----

    def plain_question(self, fact, rng):
        """A question about the fact as one of its frames makes it."""
        kinds = [("g", fact.goals, 4), ("q", fact.questions, 11), ("n", fact.nouns, 1.5), ("name", fact.names, 1.5)]
        kinds = [kind for kind in kinds if kind[1]]
        if not kinds:
            return fact.answer.split(": ", 1)[-1].rstrip(".")
        kind, items, _ = rng.choices(kinds, [k[2] for k in kinds])[0]
        item = rng.choice(items)
        item = item if kind == "name" else rng.choice(item)
        if kind == "g":
            return rng.choice(self.frames["goal"]).format(item)
        if kind == "n":
            return rng.choice(self.frames["noun"]).format(item)
        if kind == "name":
            more = "option" if item.startswith("-") else "key" if fact.id.startswith(("action:", "key:")) and item[0] != "/" else "name"
            return rng.choice(self.frames[rng.choice(["name", more])]).format(item)
        return item + rng.choice(["", "?", "?"]) if item[-1].isalnum() else item

    def other_subject(self, rng):
        text = rng.choice(self.frames["subject"])
        return re.sub(r"\{(\w+)\}", lambda m: rng.choice(w.SLOTS[m.group(1)]), text)

    def unknown_name(self, rng):
        kind = rng.randrange(3)
        while True:
            name = ("--" + rng.choice(w.UNKNOWN_NAMES) if kind == 0 else
                    "/" + rng.choice(w.UNKNOWN_SLASH) if kind == 1 else rng.choice(w.UNKNOWN_KEYS))
            if name not in self.kept_words:
                return rng.choice(self.frames["unknown"]).format(name)

    def other_words(self, text, rng):
        """Synonyms for some words."""
        words = text.split(" ")
        for i, word in enumerate(words):
            core = word.strip("?,.!")
            if core in self.synonyms and core not in self.kept_words and rng.random() < 0.22:
                words[i] = word.replace(core, rng.choice(self.synonyms[core]))
        return " ".join(words)

    def disturb(self, text, rng):
        """What people do to their words: small talk around them, capitals, typos, missing words."""
        before, after = self.around
        if rng.random() < 0.28:
            text = rng.choice(rng.choice(before)) + " " + text
        if rng.random() < 0.24:
            end = text[-1] if text[-1] in "?.!" else ""
            text = text.rstrip("?.!") + rng.choice([" ", " ", ", "]) + rng.choice(rng.choice(after)) + end
        if rng.random() < 0.08:
            words = text.split(" ")
            if len(words) > 3:
                small = [i for i, word in enumerate(words) if word.lower() in ("the", "a", "an", "my", "do", "to", "is", "of", "can", "i", "it")]
                if small:
                    del words[rng.choice(small)]
            text = " ".join(words)
        if rng.random() < 0.1:
            words = text.split(" ")
            if len(words) > 5:
                del words[rng.randrange(len(words))]
            text = " ".join(words)
        if rng.random() < 0.14:
            words = text.split(" ")
            loose = [i for i, word in enumerate(words) if word.strip("?,.!") not in self.kept_words and word[:1] not in "-/"]
            for i in rng.sample(loose, min(len(loose), rng.choice([1, 1, 2]))):
                words[i] = typo(words[i], rng)
            text = " ".join(words)
        chance = rng.random()
        if chance < 0.35:
            text = text[:1].upper() + text[1:]
        elif chance < 0.50:
            text = " ".join(word if word.strip("?,.!") in self.kept_words else word.lower() for word in text.split(" "))
        elif chance < 0.515:
            text = text.upper() if not any(word in text for word in self.kept_words) else text
        if rng.random() < 0.2:
            text = text.rstrip("?.! ")
        elif rng.random() < 0.06:
            text = text.rstrip("?.! ") + rng.choice([".", "!", "??", " ?", "...", "?!"])
        return text.strip() or "?"

    def question(self, fact, rng):
        """One about the fact; now and then two in one, as people say what is wrong and then ask."""
        if fact.id == "topic:refuse" and (rng.random() < 0.6 or not fact.questions):
            text = self.other_subject(rng)
        elif fact.id == "topic:unknown" and (rng.random() < 0.6 or not fact.questions):
            text = self.unknown_name(rng)
        else:
            text = self.other_words(self.plain_question(fact, rng), rng)
            if rng.random() < 0.07 and fact.id not in SMALL_TALK:
                more = self.plain_question(fact, rng)
                text = text.rstrip("?.! ") + rng.choice([", ", ". ", ": ", "; ", ", and "]) + more
        return self.disturb(text, rng)

    def ask(self, rng):
        """(fact, question)"""
        share = rng.choices([s[0] for s in SHARES], [s[1] for s in SHARES])[0]
        fact = self.facts["topic:" + share if share in ("refuse", "unknown") else rng.choice(SMALL_TALK if share == "small" else self.ids)]
        for _ in range(20):
            question = self.question(fact, rng)
            if not self.held.is_near(question, guide_facts.NEAR_IN_FRAME):
                break
        return fact, question

    # ---- chats ----

    def followup(self, last, rng):
        """(fact, question): what only the answer before explains, as "and how do I delete it?"; None where nothing is known."""
        targets = [target for ids, targets in self.groups if last.id in ids for target in targets if target[0] != last.id]
        if targets and rng.random() < 0.7:
            ident, phrases = rng.choice(targets)
            return self.facts[ident], rng.choice(learnt(phrases))
        phrases = self.more.get(last.id.split(":")[0])
        return (last, rng.choice(learnt(phrases))) if phrases else None

    def chat(self, rng, n_turns):
        turns, last = [], None
        for _ in range(n_turns):
            chance = rng.random() if last else 1
            followed = self.followup(last, rng) if 0.06 < chance < 0.45 else None
            if chance < 0.06:
                question, fact = self.disturb(rng.choice(self.frames["repeat"]), rng), last
            elif followed:
                fact, question = followed[0], self.disturb(self.other_words(followed[1], rng), rng)
            else:
                fact, question = self.ask(rng)
                if last and rng.random() < 0.2 and fact.id not in SMALL_TALK:
                    question = rng.choice(self.frames["link"]).format(question)
            turns.append((question, fact.answer))
            last = fact if fact.id not in SMALL_TALK else last
        return turns

    # ---- what training never sees ----

    def held_out(self):
        """Two lists of (fact, question): the hand-written ones, and facts in frames that are not trained on."""
        rng = random.Random(7)
        goal, noun = w.phrases(w.HELD_GOAL_FRAMES), w.phrases(w.HELD_NOUN_FRAMES)
        by_hand = [(fact, question) for fact in self.facts.values() for question in fact.held]
        framed = []
        for fact in self.facts.values():
            for items, frames in ((fact.goals, goal), (fact.nouns or fact.names, noun)):
                if items:
                    item = rng.choice(items)
                    framed.append((fact, rng.choice(frames).format(item if isinstance(item, str) else rng.choice(item))))
        return by_hand, framed

    def by_name(self):
        """Each option, key, command and variable by its own name: [(entries of that name, question)]"""
        facts_of = {}
        for fact in self.facts.values():
            for name in fact.names:
                facts_of.setdefault(name, []).append(fact)
        return [(facts, f"what does {name} do?") for name, facts in facts_of.items()]

    def held_followups(self):
        """[(what is asked first, as by_name() asks, (fact, question that follows))], from the phrases that are kept back."""
        rows = []
        for ids, targets in self.groups:
            before = [ident for ident in sorted(ids) if ident in self.facts and self.facts[ident].names]
            for n, (ident, phrases) in enumerate(targets):
                asked = [b for b in before if b != ident]
                if asked:
                    rows += [(f"what does {self.facts[asked[n % len(asked)]].names[0]} do?", (self.facts[ident], phrase))
                             for phrase in phrases[KEPT_BACK - 1 :: KEPT_BACK]]
        return rows
