/* pretok_table.c owns the table of pre-tokenizers: which expressions a name of tokenizer.ggml.pre stands for.
 *
 * Sources: the pre_tokenizer sections of the models' tokenizer.json files, tiktoken's encodings, and the
 * tokenization_*.py files of models that have only these. They are written for engines that differ in two
 * points, so they are respelled here and split alike:
 *  - PCRE2's \s takes U+180E, which lost White_Space in Unicode 6.3: WS lists what the others take.
 *  - A class minus a class is written [^...] over all other categories.
 * Where an expression would look at the rest of a long run again and again, a lookbehind says what the
 * match before has settled, so that any text takes linear time. */
#include "engine/pretok_table.h"

#include <string.h>

#define WS "\\t-\\r\\x{85}\\p{Z}"
#define WS_NO_NL "\\t\\x{0B}\\x{0C}\\x{85}\\p{Z}"
#define SPACES_END "[" WS "]+(?![^" WS "])|[" WS "]+"
#define CONTRACTIONS "'s|'t|'re|'ve|'m|'ll|'d"
#define ANY_CASE_CONTRACTIONS "(?i:" CONTRACTIONS ")"
#define OTHER "[^" WS "\\p{L}\\p{N}]"
#define NEWLINES "[" WS "]*[\\r\\n]+"
#define ONE_BEFORE "[^\\r\\n\\p{L}\\p{N}]?"

/* GPT-2's, under many names. */
#define GPT2 CONTRACTIONS "| ?\\p{L}+| ?\\p{N}+| ?" OTHER "+|" SPACES_END

/* cl100k and its descendants; they differ in how letters and digits group. */
#define CL100K_END " ?" OTHER "+[\\r\\n]*|" NEWLINES "|" SPACES_END
#define CL100K(digits) ANY_CASE_CONTRACTIONS "|" ONE_BEFORE "\\p{L}+|" digits "|" CL100K_END

/* o200k and its descendants: words break where capitals begin. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define WORDS_BY_CASE(upper, lower, suffix)                                                                  \
    ONE_BEFORE upper "*" lower "+" suffix "|" ONE_BEFORE upper "+" lower "*" suffix
#define O200K_END " ?" OTHER "+[\\r\\n/]*|" NEWLINES "|" SPACES_END
#define O200K(digits) WORDS_BY_CASE(UPPER, LOWER, ANY_CASE_CONTRACTIONS "?") "|" digits "|" O200K_END
/* What \w takes in the engine tiny_aya's digits were split with: the Latin-1 fractions and powers, too. */
#define WORD_CHARACTER "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}]"
/* UPPER and LOWER without Han characters. */
#define UPPER_NO_HAN "[^\\p{C}\\p{Ll}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{sc:Han}]"
#define LOWER_NO_HAN "[^\\p{C}\\p{Lu}\\p{Lt}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{sc:Han}]"

/* DeepSeek's. */
#define CASED_LETTERS                                                                                        \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"          \
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-"           \
    "\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-"          \
    "\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-"         \
    "\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-"        \
    "\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}"          \
    "\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-"        \
    "\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-"        \
    "\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}"           \
    "\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}"         \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}"          \
    "\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-"        \
    "\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-"        \
    "\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}"          \
    "\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"
#define CJK_AND_MORE "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define HAN_AND_KANA "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{30FF}]+"
#define ASCII_PUNCTUATION "[!-/:-@\\[-`{-~]"
#define DEEPSEEK3_WORDS                                                                                      \
    ASCII_PUNCTUATION "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
#define DEEPSEEK3 DEEPSEEK3_WORDS "[\\r\\n]*|" NEWLINES "|" SPACES_END

/* Bloom's: words with what is not a stop. */
#define BLOOM " ?[^(" WS "|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

/* Falcon's step "punctuation", which leaves out the accent grave under the name "default". */
#define PUNCTUATION(more) "[\\p{P}$+<=>^~|" more "]+"

#define AFMOE_SCRIPTS                                                                                        \
    "[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}\\x{3040}-\\x{30FF}\\x{FF65}-\\x{FF9F}"       \
    "\\x{2F00}-\\x{2FDF}\\x{E40}-\\x{EFF}\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}"          \
    "\\x{A9E0}-\\x{A9FF}\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+"
#define FULL_WIDTH_STOPS                                                                                     \
    "[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}"            \
    "\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+"
#define YOUTU_SCRIPTS                                                                                        \
    "[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|" FULL_WIDTH_STOPS "|[\\x{3105}-\\x{312F}]+|" HAN_AND_KANA

/* Runs of spaces in powers of two. A newline ahead was looked for when the run began: behind a space that
 * is already taken there is none. */
#define JAIS2_NEWLINES "(?<![" WS_NO_NL "])" NEWLINES
#define AHEAD(n) "[" WS "]{" n "}(?![^" WS "])|"
#define JAIS2_SPACES                                                                                         \
    AHEAD("512")                                                                                             \
    AHEAD("256")                                                                                             \
    AHEAD("128") AHEAD("64") AHEAD("32") AHEAD("16") AHEAD("8") AHEAD("4") AHEAD("1,2") "[" WS "]"

#define ISOLATED(pattern)                                                                                    \
    {                                                                                                        \
        PRETOK_ISOLATED, pattern                                                                             \
    }
#define THREES(pattern)                                                                                      \
    {                                                                                                        \
        PRETOK_THREES, pattern                                                                               \
    }
#define DIGIT ISOLATED("\\p{N}")

static const struct pretok_row rows[] = {
    {"gpt-2", 0, {ISOLATED(GPT2)}},
    {"default", 0, {ISOLATED(PUNCTUATION("")), ISOLATED(GPT2), ISOLATED("\\p{N}+"), ISOLATED("[0-9]{3}")}},
    {"llama-bpe", PRETOK_IGNORES_MERGES | PRETOK_ADDS_BOS, {ISOLATED(CL100K("\\p{N}{1,3}"))}},
    {"dbrx", 0, {ISOLATED(CL100K("\\p{N}{1,3}"))}},
    {"minicpm5", PRETOK_IGNORES_MERGES, {ISOLATED("\\p{N}{1,3}"), ISOLATED(CL100K("\\p{N}+"))}},
    {"qwen2", 0, {ISOLATED(CL100K("\\p{N}"))}},
    {"qwen35",
     0,
     {ISOLATED(ANY_CASE_CONTRACTIONS "|" ONE_BEFORE "[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS
                                     "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" NEWLINES "|" SPACES_END)}},
    {"ufakzeka", 0, {ISOLATED(ONE_BEFORE "\\p{L}+|\\p{N}|" CL100K_END)}},
    {"laguna", 0, {ISOLATED("[^\\n]+|\\n+"), ISOLATED(CL100K("\\p{N}"))}},
    {"k2-horizon",
     0,
     {ISOLATED(ANY_CASE_CONTRACTIONS "|" ONE_BEFORE
                                     "[\\p{L}\\p{M}\\x{200C}\\x{200D}]+|\\p{N}{1,3}|" CL100K_END)}},
    {"seed-coder",
     0,
     {ISOLATED(ANY_CASE_CONTRACTIONS "|" ONE_BEFORE "\\p{L}+|\\p{N}| ?" OTHER "+|" NEWLINES "|" SPACES_END)}},
    {"bailingmoe",
     0,
     {ISOLATED("'(?i:[sdmt]|ll|ve|re)|" ONE_BEFORE "\\p{L}+|\\p{N}| ?" OTHER "+[\\r\\n]*|[" WS
               "]*[\\r\\n]|" SPACES_END)}},
    {"exaone-moe",
     0,
     {ISOLATED(ANY_CASE_CONTRACTIONS "|" ONE_BEFORE
                                     "\\p{L}[\\p{L}\\p{M}]*+(?: \\p{L}[\\p{L}\\p{M}]*+)*+|\\p{N}| ?" OTHER
                                     "+[\\r\\n/]?|[" WS "]*[\\r\\n]|" SPACES_END)}},
    {"jais-2",
     0,
     {ISOLATED(ANY_CASE_CONTRACTIONS "|" ONE_BEFORE "\\p{L}+|\\p{N}{1,3}| ?" OTHER
                                     "+[\\r\\n]*|" JAIS2_NEWLINES "|" JAIS2_SPACES)}},
    {"gpt-4o", 0, {ISOLATED(O200K("\\p{N}{1,3}"))}},
    {"granite-embed-multi-97m", PRETOK_IGNORES_MERGES, {ISOLATED(O200K("\\p{N}{1,3}"))}},
    {"tiny_aya", 0, {THREES("(?<!\\p{Nd})\\p{Nd}++(?!" WORD_CHARACTER ")"), ISOLATED(O200K("\\p{N}{1,3}"))}},
    {"tekken",
     PRETOK_IGNORES_MERGES | PRETOK_ADDS_BOS,
     {ISOLATED(WORDS_BY_CASE(UPPER, LOWER, "") "|\\p{N}|" O200K_END)}},
    {"youtu", PRETOK_IGNORES_MERGES, {ISOLATED(YOUTU_SCRIPTS), ISOLATED(O200K("\\p{N}"))}},
    {"kimi-k2",
     0,
     {ISOLATED("\\p{sc:Han}+|" WORDS_BY_CASE(UPPER_NO_HAN, LOWER_NO_HAN,
                                             ANY_CASE_CONTRACTIONS "?") "|\\p{N}{1,3}|" CL100K_END)}},
    {"deepseek-llm",
     0,
     {ISOLATED("[\\r\\n]"), ISOLATED("[" WS "]?[" CASED_LETTERS "]+"),
      ISOLATED("[" WS
               "]?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+"),
      ISOLATED("(?<![" WS "])[" WS "]++$"), ISOLATED(CJK_AND_MORE), ISOLATED("\\p{N}+")}},
    {"deepseek-coder",
     0,
     {ISOLATED("[\\r\\n]"), ISOLATED("[" WS "]?\\p{L}+"), ISOLATED("[" WS "]?\\p{P}+"),
      ISOLATED(CJK_AND_MORE), DIGIT}},
    {"deepseek-v3", 0, {ISOLATED("\\p{N}{1,3}"), ISOLATED(HAN_AND_KANA), ISOLATED(DEEPSEEK3)}},
    {"spark2_5",
     0,
     {ISOLATED("\\p{N}{1,3}"), ISOLATED(HAN_AND_KANA), ISOLATED(DEEPSEEK3_WORDS "|[\\r\\n]|" SPACES_END),
      DIGIT}},
    {"afmoe", 0, {THREES("\\p{N}+"), ISOLATED(AFMOE_SCRIPTS), ISOLATED(DEEPSEEK3)}},
    {"falcon", 0, {ISOLATED(PUNCTUATION("`")), ISOLATED(GPT2), ISOLATED("[0-9]{3}")}},
    {"starcoder", 0, {DIGIT, ISOLATED(GPT2)}},
    {"chameleon",
     PRETOK_ADDS_BOS,
     {ISOLATED("<sentinel:[0-9]+>"), ISOLATED("IMGIMG[A-I]{1,4}Z"), ISOLATED("[\\t\\n]|    |  "), DIGIT,
      ISOLATED("[\\p{P}!-/:-@\\[-`{-~]"), ISOLATED(GPT2)}},
    {"bloom", 0, {ISOLATED(BLOOM)}},
    {"viking", 0, {ISOLATED(BLOOM), DIGIT}},
    {"superbpe", 0, {ISOLATED("\\p{N}+"), {PRETOK_THREES_FROM_RIGHT, "\\p{Nd}+"}}},
    {"gemma4", PRETOK_WHOLE_CHARACTERS | PRETOK_ADDS_BOS, {ISOLATED("[^\\n]+|\\n+")}},
    {"sarvam-moe", PRETOK_WHOLE_CHARACTERS, {ISOLATED("[^\\n]+|\\n+")}},
};

/* Other names under which a row goes. */
static const struct {
    const char *name, *row;
} aliases[] = {
    {"gpt2", "gpt-2"},
    {"phi-2", "gpt-2"},
    {"mpt", "gpt-2"},
    {"olmo", "gpt-2"},
    {"jais", "gpt-2"},
    {"trillion", "gpt-2"},
    {"granite-docling", "gpt-2"},
    {"exaone4", "gpt-2"},
    {"gigachat", "gpt-2"},
    {"a.x-4.0", "gpt-2"},
    {"mellum", "gpt-2"},
    {"modern-bert", "gpt-2"},
    {"roberta-bpe", "gpt-2"},
    {"jina-es", "gpt-2"},
    {"jina-de", "gpt-2"},
    {"jina-v1-en", "gpt-2"},
    {"jina-v2-es", "gpt-2"},
    {"jina-v2-de", "gpt-2"},
    {"jina-v2-code", "gpt-2"},
    {"llama3", "llama-bpe"},
    {"llama-v3", "llama-bpe"},
    {"falcon3", "llama-bpe"},
    {"falcon-h1", "llama-bpe"},
    {"pixtral", "llama-bpe"},
    {"midm-2.0", "llama-bpe"},
    {"lfm2", "llama-bpe"},
    {"jina-v5-nano", "llama-bpe"},
    {"smaug-bpe", "dbrx"},
    {"glm4", "dbrx"},
    {"chatglm-bpe", "dbrx"},
    {"deepseek-r1-qwen", "qwen2"},
    {"stablelm2", "qwen2"},
    {"megrez", "qwen2"},
    {"hunyuan", "qwen2"},
    {"solar-open", "qwen2"},
    {"grok-2", "qwen2"},
    {"kormo", "qwen2"},
    {"f2llmv2", "qwen2"},
    {"bailingmoe2", "bailingmoe"},
    {"llada-moe", "bailingmoe"},
    {"o200k", "gpt-4o"},
    {"llama4", "gpt-4o"},
    {"kanana2", "gpt-4o"},
    {"talkie", "gpt-4o"},
    {"minimax-m2", "gpt-4o"},
    {"cohere2moe", "tiny_aya"},
    {"hunyuan-dense", "deepseek-v3"},
    {"hy_v4", "deepseek-v3"},
    {"joyai-llm", "deepseek-v3"},
    {"refact", "starcoder"},
    {"granite", "starcoder"},
    {"command-r", "starcoder"},
    {"smollm", "starcoder"},
    {"codeshell", "starcoder"},
    {"exaone", "starcoder"},
    {"minerva", "starcoder"},
    {"minerva-7b", "starcoder"},
    {"mellum2", "starcoder"},
    {"poro-chat", "bloom"},
    {"gpt3-finnish", "bloom"},
    {"granite-embed-multi-311m", "gemma4"},
};

static bool is_name(const char *name, const char *s, size_t n)
{
    return strlen(name) == n && memcmp(name, s, n) == 0;
}

static const struct pretok_row *find_row(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (is_name(rows[i].name, name, n))
            return &rows[i];
    return NULL;
}

const struct pretok_row *pretok_table_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (is_name(aliases[i].name, name, n))
            return find_row(aliases[i].row, strlen(aliases[i].row));
    return find_row(name, n);
}

const struct pretok_row *pretok_table_row(size_t i)
{
    return i < sizeof rows / sizeof *rows ? &rows[i] : NULL;
}
