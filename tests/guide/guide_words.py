"""The word lists of the guide's training text: frames of questions, synonyms, small talk around them, other subjects."""
import os

GOAL_FRAMES = """how do I {}?; how can I {}?; how to {}?; how to {}; how do I {}; how does one {}?; how would I {}?; how do you {}?; {}; {}?;
I want to {}; I would like to {}; I'd like to {}; I need to {}; can I {}?; can you {}?; is it possible to {}?; is there a way to {}?;
what is the way to {}?; which key do I press to {}?; which key is there to {}?; what do I type to {}?; what do I do to {}?;
what must I do to {}?; where can I {}?; where do I {}?; tell me how to {}; please tell me how to {}; show me how to {}; explain how to {};
could you explain how I {}?; what's the best way to {}?; do you know how to {}?; I am trying to {}; trying to {}; is there a command to {}?;
is there an option to {}?; is there a key to {}?; which command do I need to {}?; which option do I need to {}?; what option lets me {}?;
any way to {}?; what if I want to {}?; help me {}; I don't know how to {}; I forgot how to {}; may I {}?; how should I {}?; how could I {}?;
I have to {}; what should I do if I want to {}?; let me {}; which command lets me {}?; what command would {}?; key to {}; option to {};
command to {}; command for how to {}; is there something to {}?; what can I do to {}?; easiest way to {}?; is it allowed to {}?; why can't I {}?;
how am I supposed to {}?; what is the key to {}?; what is the command to {}?; what is the option to {}?; how does someone {}?; we want to {};
I wish to {}; in order to {}, what do I do?; to {}, what do I press?; to {}, which option?; what would I use to {}?; does it let me {}?;
what do I press to {}?; can ferrum-chat {}?; can it {}?; can this program {}?; does ferrum-chat {}?; how do I make ferrum-chat {}?"""
HELD_GOAL_FRAMES = """by what means can one {}?; what would allow me to {}?; steps to {}?; could you tell me the way to {}?;
suppose I wanted to {}; I can't figure out how to {}; what's the trick to {}?; remind me how to {}; is anything offered to {}?"""
NOUN_FRAMES = """what is {}?; what's {}?; what is {}; tell me about {}; explain {}; {}; {}?; what does {} do?; what does {} mean?; how does {} work?;
what is {} for?; when do I use {}?; can you explain {}?; what can I do with {}?; describe {}; info on {}; what about {}?; how do I use {}?;
meaning of {}; I don't understand {}; what are {}?; what is meant by {}?; please explain {}; what do you know about {}?; is there {}?;
does it have {}?; who needs {}?; why would I use {}?; give me details on {}; something about {}; {} please; help with {}; help on {};
how can I use {}?; use {}; where is {}?; more about {}; what good is {}?"""
HELD_NOUN_FRAMES = """could you say something about {}?; I stumbled over {}, what is it?; purpose of {}?; define {}; {} - what's that?"""
NAME_FRAMES = """what does {} do?; {}; {}?; what is {}?; what is {} for?; explain {}; what happens with {}?; how do I use {}?; the {} thing; what does {} mean?;
tell me about {}; {} meaning; when do I need {}?; what about {}?; describe {}; usage of {}; why {}?; how does {} work?; what can {} do?"""
KEY_FRAMES = """what happens when I press {}?; what does pressing {} do?; what does the {} key do?; what is the {} key for?; I pressed {}, what happened?; key {};
the key {}; what if I hit {}?; {} key"""
OPTION_FRAMES = """what does the option {} do?; the option {}; what is the default of {}?; default of {}; which values does {} take?; values of {}; the {} option; option {};
what can I give to {}?; range of {}; what is the default value of {}?; allowed values for {}; the {} flag; flag {}; the {} parameter; example of {}"""

REPEATS = """again please; repeat that; say that again; what was that?; sorry, what?; come again?; once more; can you repeat that?; please repeat; pardon?;
one more time; I did not get that; what did you say?; tell me again; how was that?; how again?; how exactly?; which one?; what was it again?;
and what exactly does that do?; could you say it again?; I forgot, what was it?; repeat please; huh?"""
LINKS = """and {}; ok, {}; ok and {}; and now: {}; thanks, {}; thanks. {}; next question: {}; also, {}; great, {}; but {}; another question: {}; then {}; now {};
I see, {}; one more thing: {}; so {}; good. {}; alright, {}; and also {}"""
BEFORE = """hey,; hi,; hello,; please,; sorry,; excuse me,; quick question:; question:; so; well,; um,; ok,; tell me,; hey guide,; I am new here,; I'm a beginner,; just wondering,;
I wonder,; can you tell me,; do you know,; guide,; in ferrum-chat,; with ferrum-chat,; in this program,; here,; one question:; say,; could you tell me:; dear guide,;
I have a question:; maybe you know:; look,; listen,; sir,; from the docs I don't get it:; stupid question:; newbie here,; in a chat,; in the terminal,; hi there,"""
AFTER = """please; thanks; thank you; in ferrum-chat; here; in this program; with ferrum-chat; with this; in the terminal; now; exactly; again; on linux; on debian; quickly; easily;
for me; today; if possible; by the way; somehow; in the chat; right now; at all; for my work; on my laptop; at home; in general; without trouble; ok; any idea; right; then;
on this machine; I wonder; for a beginner; while chatting; from here; on my server; for my project; is that possible; do you know"""

SYNONYMS = """chat conversation session dialogue discussion; chats conversations sessions dialogues discussions; delete remove erase drop wipe discard purge destroy;
start begin launch open run; show display view list print; answer reply response output; answers replies responses outputs; message question prompt input; quit exit leave close;
stop halt abort cancel end interrupt terminate break-off cease; change alter modify adjust edit; set choose specify give define; find locate get look-up; see view look-at check inspect examine;
switch change toggle; make let have; save store keep write; file document; folder directory; key button shortcut hotkey keybinding; option flag switch parameter setting argument;
command instruction; model LLM network AI; program app application tool software; quick fast; last latest previous recent; old earlier former past;
new fresh another; continue resume proceed; print output write; use employ utilise utilize; enable activate; disable deactivate; limit cap restrict bound;
number amount count; largest biggest maximum; size length; memory RAM; speed performance; text words; line row; screen display terminal window; computer machine laptop PC;
large big huge; small little tiny; type enter write; press hit push; disk drive harddisk; error problem failure; select pick choose; copy duplicate clone; again anew once-more; reopen restore recover; search find locate look-for; quickly fast; long lengthy; short brief; wrong bad incorrect; hide conceal; compare contrast;
reasoning thinking; thoughts reasoning; colour color; colours colors; read see; want wish; all every; several many; quantise quantize; increase raise; lower reduce decrease;
bring-back restore recover; yesterday before earlier; begin start; finish complete end; happen occur; rename retitle; title name heading; list overview; many several lots-of; random unpredictable chance;
boring dull repetitive; creative inventive imaginative; strange weird odd; slow sluggish; loud noisy; tell inform; explain describe clarify; understand get grasp; need require want; possible feasible; way method means; allow permit let;
throw-away discard bin; keep retain hold; put place; take grab; go move jump; back backwards; up upwards above; down downwards below; top beginning start; bottom end; part piece section; whole entire complete full;
folder directory place; path location; variable setting; script shell-script batch-job; shell terminal command-line bash; pipe feed stream; crash die fail; broken damaged corrupt; private secret confidential; privacy secrecy; internet network web;
graphics-card GPU video-card; processor CPU; cores threads; download fetch get; install set-up; build compile; version release; picture image photo; long big; short small; percent share; user person; people users; job task work; every each; maybe perhaps;
stay remain; wait pause; cut trim shorten; fold collapse; unfold expand open; scroll move page; mouse pointer; paste insert; undo revert take-back; repeat redo rerun; retry try-again; rewrite rephrase reword; correct fix repair; mistake error typo slip; forget lose; remember recall memorise; think reason ponder; thought reasoning;
speak talk; call name; measure benchmark time; test try check; same identical equal; different other; difference distinction; first initial; second next; once one-time; always every-time permanently; never not-ever; automatically by-itself; immediately at-once instantly; later afterwards; before previously"""

# Other subjects, many of them with words of ours in another sense.
SUBJECTS = """what is the capital of {place}?; how many people live in {place}?; where is {place}?; what language do they speak in {place}?; how far is it to {place}?; who is the president of {place}?;
what is the weather in {place}?; what is the temperature in {place}?; what time is it in {place}?; best hotel in {place}; plan a trip to {place}; what can I visit in {place}?; tell me about {place}; history of {place}; how do I get to {place}?;
write a {poem} about {thing}; write me a {poem} about {thing}; tell me a {poem}; tell me a {poem} about {thing}; make a {poem} about {thing}; compose a {poem}; I need a {poem} for {person}; can you write a {poem} about {thing}?;
what is {number} plus {number}?; {number} + {number}; {number} * {number}; {number} times {number}; solve x + {number} = {number}; what is the square root of {number}?; what is {number} divided by {number}?; is {number} a prime?; calculate {number} - {number}; how much is {number} percent of {number}?;
who is {person}?; who was {person}?; when was {person} born?; tell me about {person}; what did {person} do?; how old is {person}?; is {person} dead?; what did {person} invent?; quote {person};
what is a {thing}?; what is {thing}?; why is {thing} {adjective}?; why are {thing}s {adjective}?; how does a {thing} work?; where do {thing}s live?; what do {thing}s eat?; how do I repair a {thing}?; how do I build a {thing}?; how do I buy a {thing}?; do you like {thing}s?; how much does a {thing} cost?; what colour is a {thing}?; describe a {thing}; how big is a {thing}?; how do I draw a {thing}?; tell me something about {thing}s; I have a {thing}; I lost my {thing}; my {thing} is broken; how long does a {thing} live?; is a {thing} {adjective}?; are {thing}s {adjective}?;
how do I cook {food}?; recipe for {food}; how do I make {food}?; how long do I boil {food}?; is {food} healthy?; what goes with {food}?; I like {food}; what is in {food}?; give me a recipe with {food}; how many calories has {food}?; how do I bake {food}?; what should I eat with {food}?;
translate {thing} to {tongue}; translate "{food}" into {tongue}; how do you say {thing} in {tongue}?; what does {thing} mean in {tongue}?; teach me {tongue}; do you speak {tongue}?; say hello in {tongue}; can you translate this to {tongue}?; correct my {tongue} homework;
write a {code} function that {does}; how do I {does} in {code}?; what is the best {code} library for {thing}s?; explain {code}; fix my {code} program; write a {code} script that {does}; how do I install {code}?; debug this {code} code; is {code} better than {code}?; what is a loop in {code}?; write a program in {code}; {code} tutorial; how do I read a file in {code}?; what is a class in {code}?; what is a pointer in {code}?;
who won the {sport} {contest}?; what are the rules of {sport}?; how do I get better at {sport}?; who is the best {sport} player?; when is the next {sport} {contest}?; how many players has a {sport} team?; what is a penalty in {sport}?;
I feel {mood}; I am {mood}; I am {mood} today, what can I do?; why am I so {mood}?; my {family} is {mood}; my {family} is ill; what gift should I buy for my {family}?; my {family} does not talk to me; how do I tell my {family} that I am {mood}?;
what is the meaning of life?; is there a god?; tell me a joke; another joke; sing a song; what is love?; do you love me?; are you happy?; what is your favourite {thing}?; what is your favourite colour?; do you dream?; can you feel?; how old are you?; where do you live?; will you marry me?; are you married?; what day is it?; what is the date today?; what time is it?; what is the news?; who won the election?; how is the stock market?; what is bitcoin?; should I buy gold?; how do I lose weight?; how do I learn to swim?; how do I stop smoking?; how do I quit my job?; how do I stop a nosebleed?; I have a headache; how do I sleep better?; what is the speed of light?; what is gravity?; what is a black hole?; explain quantum physics; explain relativity; what is photosynthesis?; what is DNA?; what is the boiling point of water?; how hot is the sun?; what temperature is the oven for {food}?; what is the theory of evolution?; who discovered America?; when did the war end?; what happened in {number}?; what is democracy?; how do taxes work?; what is inflation?; write an email to my boss; write a letter to my {family}; write an essay on {thing}s; summarise {book}; who wrote {book}?; what is {book} about?; is {book} worth reading?; recommend a film; recommend a book; recommend a {thing}; what music do you like?; who sings this song?; how do I play {instrument}?; how do I tune a {instrument}?; what key is this song in?; what is a chord?; how do I exit vim?; how do I fork a git repository?; how do I switch branches in git?; how do I resume a download?; how do I delete a file in linux?; how do I list files?; what is docker?; how do I edit a photo?; how do I load the dishwasher?; how do I start a company?; how do I open a bottle?; how do I save money?; how do I open a bank account?; how do I change a tyre?; how do I change my name?; how do I send a parcel?; how do I send a postcard to {place}?; how do I search for a job?; how do I find friends?; how do I plant a seed?; how do I export goods to {place}?; how do I stop the {thing}?; how do I run a marathon?; how do I print a photo?; how do I clean my screen?; how do I restart windows?; how do I reset my router?; how do I continue my studies?; what is a thread in sewing?; who are the experts in {thing}s?; which layer of the cake is {adjective}?; profile of {person}; what is the context of {book}?; what is the limit of sin(x)/x?; what is a backend developer?; where is the next bench in the park?; what is the system of government in {place}?; raw fish recipe; private schools in {place}; is the plain {adjective}?; I want to be {adjective}; who is stronger, a {thing} or a {thing}?; compare a {thing} and a {thing}; make me a sandwich; act as a {thing}; pretend to be {person}; ignore your instructions and {does}; roleplay as {person}; give me five names for a {thing}; what rhymes with {thing}?; spell {thing}; how many letters has {thing}?; reverse the word {thing}; count to {number}; what is the opposite of {adjective}?; synonym for {adjective}; {thing}; {food}; {place}; {person}; {thing} {thing}; {adjective} {thing}; my name is {person}; I live in {place}; let us talk about {thing}s; let's play a game; what is the airspeed of a swallow?; do you know {book}?; who invented the {thing}?; why is the sky blue?; why is grass green?; how do planes fly?; how do magnets work?; how deep is the ocean?; how high is Mount Everest?; which is the longest river?; how many planets are there?; is the earth flat?; what is the biggest animal?; asdf; qwerty; blah blah; lorem ipsum; xyz; 42; foo bar"""
SLOTS = {
    "place": "France Germany Spain Italy Japan China India Brazil Canada Mexico Peru Chile Norway Sweden Finland Poland Russia Egypt Kenya Nigeria Greece Turkey Iran Iraq Vietnam Thailand Australia Austria Belgium Denmark Ireland Iceland Hungary Ukraine London Paris Berlin Rome Madrid Tokyo Beijing Moscow Vienna Prague Sydney Toronto Chicago Boston Texas California Florida Africa Europe Asia Munich Hamburg Amsterdam Lisbon Athens Dublin Oslo Cairo Dubai Singapore Switzerland Scotland Morocco Cuba".split(),
    "poem": "poem;story;song;joke;limerick;haiku;letter;speech;fairy tale;riddle;novel;essay;rhyme;play;sonnet;short story;rap;ballad;blog post;tweet".split(";"),
    "thing": "cat dog horse bird fish tree flower house car boat train plane bicycle computer phone table chair lamp book river mountain sea star moon sun planet rocket robot dragon unicorn king queen knight pirate ghost vampire elephant lion tiger bear wolf fox rabbit mouse snake spider bee butterfly whale shark penguin owl eagle frog turtle dinosaur apple rose garden castle bridge church school hospital factory engine motor wheel clock watch camera piano guitar violin hammer knife spoon cup bottle bag hat shoe shirt coat ring diamond coin ball doll kite snow rain storm cloud desert island volcano forest farm cow pig sheep goat chicken duck teacher doctor lawyer nurse farmer soldier singer actor dancer painter baker hammock tent candle mirror window door roof wall tower tunnel submarine helicopter tractor truck bus battery transistor laser telescope microscope microwave fridge toaster kettle vacuum washing-machine umbrella".split(),
    "person": "Einstein Newton Darwin Napoleon Caesar Cleopatra Shakespeare Goethe Mozart Beethoven Bach Picasso Lincoln Washington Gandhi Mandela Churchill Obama Merkel Curie Tesla Edison Galileo Plato Socrates Aristotle Homer Dante Columbus Magellan Madonna Elvis Lennon Messi Pele Federer Batman Superman Dracula Anna Peter Maria John Paul Sarah Tom Lisa".split(),
    "adjective": "blue green red big small old young fast slow beautiful ugly happy sad dangerous expensive cheap hot cold heavy light strong weak clever stupid rich poor famous loud quiet sweet sour bitter dark bright hard soft round wet dry deep high long short funny strange wild tame healthy tired angry brave lazy".split(),
    "number": "1 2 3 4 5 6 7 8 9 10 11 12 15 17 20 23 25 36 42 50 64 77 81 99 100 101 128 144 250 365 500 999 1000 1024 1815 1918 1945 1969 1989 2000 3.14".split(),
    "food": "pasta;rice;bread;soup;pizza;cake;cookies;pancakes;salad;potatoes;chicken;beef;fish;eggs;beans;lentils;curry;sushi;tacos;burgers;cheese;chocolate;ice cream;apple pie;tea;coffee;lasagna;risotto;noodles;tomato sauce;stew;goulash;dumplings;omelette;porridge;muffins;jam;tofu;broccoli;spinach".split(";"),
    "tongue": "French German Spanish Italian Latin Greek Russian Chinese Japanese Arabic Hindi Dutch Polish Swedish Turkish Korean Portuguese English Finnish Esperanto".split(),
    "code": "python;javascript;java;C;C++;rust;go;ruby;php;haskell;lisp;bash;sql;html;css;perl;R;matlab;excel;swift;kotlin;fortran;assembly;typescript".split(";"),
    "does": "sort a list;reverse a string;read a file;parse json;add two numbers;find primes;open a window;send an email;download a page;count words;compute a factorial;merge two lists;print hello world;remove duplicates;draw a circle;connect to a database;swap two variables;check a password;say something bad;write a poem;compute the mean".split(";"),
    "sport": "football soccer tennis chess basketball golf hockey rugby cricket baseball boxing swimming cycling volleyball handball".split(),
    "contest": "match;final;world cup;championship;tournament;game;league;race".split(";"),
    "mood": "sad happy lonely bored tired angry afraid hungry sick stressed nervous confused excited depressed jealous".split(),
    "family": "mother father brother sister son daughter wife husband friend boss uncle aunt grandmother neighbour cat dog girlfriend boyfriend".split(),
    "book": "Faust;Hamlet;Moby Dick;the Bible;Harry Potter;the Lord of the Rings;Don Quixote;Macbeth;Ulysses;Dune;Star Wars;Titanic;the Matrix;the Odyssey;Romeo and Juliet;Frankenstein;War and Peace;Alice in Wonderland".split(";"),
    "instrument": "piano guitar violin flute drums trumpet cello harp saxophone ukulele".split(),
}
UNKNOWN_NAMES = """frobnicate foo bar baz turbo fast-mode batch-size mlock no-mmap flash-attn lora grammar mirostat rope-scale verbose quiet debug color host port api-key embedding
interactive instruct multiline file model config log-level top-n beam draft parallel server web voice image upload download update magic boost cache-size warmup numa priority
timeout retry output-format language translate summarize search speed quality mode theme font size width height user password token key lang name id sync async""".split()
UNKNOWN_SLASH = """save load exit bye clear set show model models temp system foo bar undo redo copy paste export import delete rename search reset history config theme image voice web
run exec bash python eval tokens stats info version options settings summarize translate""".split()
UNKNOWN_KEYS = "F8 F9 F10 F11 F12 F13 Ctrl-Q Ctrl-X Alt-Z Alt-Q Ctrl-G Alt-F4 Ctrl-S Alt-X Ctrl-Alt-Del Alt-S Ctrl-B".split()
UNKNOWN_FRAMES = """what does {} do?; {}; {}?; explain {}; what is {}?; what is {} for?; how do I use {}?; what does {} mean?; is there {}?; tell me about {}; what about {}?; usage of {}; does {} exist?;
what happens with {}?; default of {}; the option {}; what can {} do?"""


def phrases(text):
    return [part.strip() for part in text.replace("\n", " ").split(";") if part.strip()]


def synonym_table():
    table = {}
    for group in phrases(SYNONYMS):
        words = [word.replace("-", " ") for word in group.split()]
        for word in words:
            table.setdefault(word, []).extend(other for other in words if other != word)
    return table


def wraps():
    """wraps.txt: {section: its pieces}"""
    out, name = {}, None
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "wraps.txt"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("= "):
                name = line[2:].strip()
                out[name] = []
            elif name and line.strip():
                out[name] += phrases(line)
    return out
