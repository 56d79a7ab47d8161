#include "demo/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "base/error.h"
#include "base/text.h"
#include "painter/measure.h"

namespace lorikeet::demo {

using painter::Measures;

namespace {
constexpr double kMultipliers[] = {0, .25, .5, .75, 1};
constexpr double kPairMultiplier = .7;

// A number by which a style is told without the judge.
struct TellingMeasure {
  std::string_view style, words;
  double Measures::*value;
};
constexpr TellingMeasure kTelling[] = {{"neon", "dark pixels", &Measures::dark},
                                       {"sketch", "grey pixels", &Measures::grey},
                                       {"blueprint", "navy pixels", &Measures::navy},
                                       {"pixel", "differences on the borders of blocks", &Measures::blocks}};

const TellingMeasure* telling_measure(const std::string& style) {
  for (const TellingMeasure& row : kTelling)
    if (row.style == style) return &row;
  return nullptr;
}

[[gnu::format(printf, 2, 3)]] void print(std::string& to, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  to += text;
}

double share(size_t count, size_t of) { return of ? static_cast<double>(count) / static_cast<double>(of) : 0; }

size_t index_of_style(const std::string& style) { return static_cast<size_t>(&painter::style_named(style) - painter::styles().data()); }

// --- what is true of a verdict ---

using Holds = bool (*)(const Verdict&, const Facts& asked);

bool has_thing(const Verdict& v, const Facts& asked) { return v.says(Fact::thing, asked); }
bool has_colour(const Verdict& v, const Facts& asked) { return v.says(Fact::colour, asked); }
bool has_setting(const Verdict& v, const Facts& asked) { return v.says(Fact::setting, asked); }
bool has_all_three(const Verdict& v, const Facts& asked) { return has_thing(v, asked) && has_colour(v, asked) && has_setting(v, asked); }
bool has_count(const Verdict& v, const Facts& asked) { return v.says(Fact::count, asked) && v.says(Fact::layout, asked); }
bool has_both_things(const Verdict& v, const Facts& asked) {
  const auto of = [](const Facts& facts) {
    return std::minmax({facts[static_cast<size_t>(Fact::thing)], facts[static_cast<size_t>(Fact::second_thing)]});
  };
  return of(v.most_likely) == of(asked);
}
bool in_place(const Verdict& v, const Facts& asked) {
  return v.says(Fact::layout, asked) && v.says(Fact::thing, asked) && v.says(Fact::second_thing, asked);
}
bool in_place_and_coloured(const Verdict& v, const Facts& asked) {
  return in_place(v, asked) && v.says(Fact::colour, asked) && v.says(Fact::second_colour, asked);
}

struct Question {
  const char* words;
  Holds holds;
};

size_t count_right(const std::vector<Verdict>& verdicts, const std::vector<Facts>& asked, Holds holds) {
  size_t right = 0;
  for (size_t i = 0; i < verdicts.size(); ++i) right += holds(verdicts[i], asked[i]);
  return right;
}

std::vector<Facts> asked_facts(const std::vector<Wish>& wishes) {
  std::vector<Facts> facts;
  for (const Wish& wish : wishes) facts.push_back(wish.facts);
  return facts;
}

void ask(const Exam& exam, const std::vector<Wish>& wishes, const std::vector<Picture>& pictures,
         std::initializer_list<Question> questions) {
  const auto verdicts = exam.judge.judge(pictures), on_painted = exam.judge.judge(painted(wishes));
  const auto asked = asked_facts(wishes);
  for (const Question& question : questions)
    print(exam.report, "| %s | %zu of %zu | %.0f %% | %.0f %% |\n", question.words, count_right(verdicts, asked, question.holds),
          wishes.size(), 100 * share(count_right(verdicts, asked, question.holds), wishes.size()),
          100 * share(count_right(on_painted, asked, question.holds), wishes.size()));
}

// The asked colour's share of the picture, against the share of that colour in pictures that ask for others.
void report_colour_shares(const Exam& exam, const std::vector<Wish>& wishes, const std::vector<Picture>& pictures) {
  std::vector<Measures> measures;
  for (const Picture& picture : pictures) measures.push_back(painter::measure(picture));
  double own = 0, other = 0;
  size_t others = 0;
  for (size_t i = 0; i < wishes.size(); ++i) {
    const size_t colour = wishes[i].scene.groups[0].colour;
    own += measures[i].share[colour];
    for (size_t j = 0; j < wishes.size(); ++j) {
      if (wishes[j].scene.groups[0].colour == colour) continue;
      other += measures[j].share[colour];
      ++others;
    }
  }
  print(exam.report, "\nThe asked colour covers %.0f %% of a picture; in the pictures that ask for another it covers %.0f %%.\n",
        100 * own / static_cast<double>(wishes.size()), others ? 100 * other / static_cast<double>(others) : 0.0);
}

std::string lora_tag(const std::string& name, double multiplier) {
  std::string tag;
  print(tag, "<lora:%s:%g>", name.c_str(), multiplier);
  return tag;
}

// What a set of pictures shows of a style.
struct StyleShown {
  double judged = 0, measured = 0, things_right = 0;
  std::vector<double> each;  // the measure, or the judge's probability where the style has none
};

StyleShown style_shown(const Exam& exam, const std::vector<Picture>& pictures, const std::vector<Wish>& wishes, const std::string& style) {
  const TellingMeasure* telling = telling_measure(style);
  const auto verdicts = exam.judge.judge(pictures);
  StyleShown shown;
  for (size_t i = 0; i < pictures.size(); ++i) {
    const double judged = verdicts[i].of(Fact::style, index_of_style(style));
    const double measured = telling ? painter::measure(pictures[i]).*telling->value : 0;
    shown.judged += judged;
    shown.measured += measured;
    shown.things_right += has_thing(verdicts[i], wishes[i].facts);
    shown.each.push_back(telling ? measured : judged);
  }
  const double count = static_cast<double>(std::max<size_t>(pictures.size(), 1));
  shown.judged /= count;
  shown.measured /= count;
  shown.things_right /= count;
  return shown;
}

// Where `name` stands in a list of the painter's.
template <class Rows>
int64_t index_named(const Rows& rows, const std::string& name) {
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].name == name) return static_cast<int64_t>(i);
  throw Error(ErrorKind::bad_input, "the painter knows no \"" + name + "\"");
}

bool is_there(const Exam& exam, bool there, const char* kind, const std::string& name) {
  if (!there) print(exam.report, "\nNot measured: there is no %s %s.\n", kind, name.c_str());
  return there;
}
}  // namespace

void report_judge(const Exam& exam, size_t paintings) {
  constexpr uint64_t kSeed = 2000;  // other pictures than those of JudgeOptions::seed
  const auto samples = painted_samples(kSeed, paintings);
  std::vector<Picture> pictures;
  for (const Sample& sample : samples) pictures.push_back(sample.picture);
  const auto verdicts = exam.judge.judge(pictures);
  constexpr std::pair<Fact, const char*> kNames[] = {
      {Fact::thing, "thing"}, {Fact::colour, "colour"}, {Fact::setting, "setting"},           {Fact::style, "style"},
      {Fact::count, "count"}, {Fact::layout, "layout"}, {Fact::second_thing, "second thing"}, {Fact::second_colour, "second colour"}};
  print(
      exam.report,
      "## The judge\n\nOn %zu paintings in all styles that it was not trained on, the judge is right in:\n\n| fact | right |\n|---|---|\n",
      paintings);
  for (const auto& [fact, name] : kNames) {
    size_t right = 0, all = 0;
    for (size_t i = 0; i < samples.size(); ++i) {
      if (samples[i].facts[static_cast<size_t>(fact)] < 0) continue;
      ++all;
      right += verdicts[i].says(fact, samples[i].facts);
    }
    print(exam.report, "| %s (of %zu) | %.1f %% |\n", name, answers(fact), 100 * share(right, all));
  }
}

void report_prompts(const Exam& exam) {
  print(exam.report,
        "\n## The prompt decides\n\n| asked for | shown | | the judge on the painter's own pictures of the same prompts "
        "|\n|---|---|---|---|\n");
  const auto singles = single_wishes(exam.seeds), counts = count_wishes(exam.seeds), pairs = pair_wishes(exam.seeds),
             held = held_out_wishes(exam.seeds);
  const auto pictures = exam.studio.pictures("single", singles);
  ask(exam, singles, pictures,
      {{"thing", has_thing}, {"colour", has_colour}, {"setting", has_setting}, {"all three at once", has_all_three}});
  ask(exam, counts, exam.studio.pictures("count", counts), {{"two or three of a kind", has_count}});
  ask(exam, pairs, exam.studio.pictures("pair", pairs),
      {{"two things", has_both_things}, {"each in its place", in_place}, {"and in its colour", in_place_and_coloured}});
  ask(exam, held, exam.studio.pictures("held-out", held),
      {{"thing, in combinations that training never showed", has_thing},
       {"colour in these", has_colour},
       {"all three in these", has_all_three}});
  report_colour_shares(exam, singles, pictures);
}

void report_style(const Exam& exam, const Taught& lora) {
  print(exam.report, "\n## LoRA %s: the style grows with the multiplier\n", lora.name.c_str());
  if (!is_there(exam, exam.studio.has_lora(lora.name), "LoRA", lora.name)) return;
  const TellingMeasure* telling = telling_measure(lora.style);
  print(exam.report, "\n| multiplier | the judge sees the style | %s | the thing is still right |\n|---|---|---|---|\n",
        telling ? std::string(telling->words).c_str() : "(no measure)");
  const auto wishes = single_wishes(exam.ladder);
  std::vector<StyleShown> steps;
  for (const double multiplier : kMultipliers) {
    const std::string name = lora.name + "-" + std::to_string(static_cast<int>(100 * multiplier));
    steps.push_back(style_shown(exam, exam.studio.pictures(name, wishes, lora_tag(lora.name, multiplier)), wishes, lora.style));
    const StyleShown& shown = steps.back();
    print(exam.report, "| %g | %.0f %% | %.3f | %.0f %% |\n", multiplier, 100 * shown.judged, shown.measured, 100 * shown.things_right);
  }
  const auto mean = [&](const StyleShown& shown) { return telling ? shown.measured : shown.judged; };
  std::string falls;
  for (size_t i = 1; i < steps.size(); ++i)
    if (const double less = mean(steps[i - 1]) - mean(steps[i]); less > 0)
      print(falls, "%s by %.3f from %g to %g", falls.empty() ? ", but falls" : " and", less, kMultipliers[i - 1], kMultipliers[i]);
  size_t more = 0;
  for (size_t i = 0; i < wishes.size(); ++i) more += steps.back().each[i] > steps.front().each[i];
  print(exam.report, "\nThe mean of %s rises from multiplier to multiplier%s; at 1 it is higher than at 0 in %zu of %zu pictures.\n",
        telling ? "the measure" : "what the judge sees", falls.c_str(), more, wishes.size());
}

void report_pair(const Exam& exam, const Taught& first, const Taught& second) {
  print(exam.report, "\n## %s and %s together\n", first.name.c_str(), second.name.c_str());
  for (const Taught* lora : {&first, &second})
    if (!is_there(exam, exam.studio.has_lora(lora->name), "LoRA", lora->name)) return;
  const auto wishes = single_wishes(exam.ladder);
  const std::string one = lora_tag(first.name, kPairMultiplier), other = lora_tag(second.name, kPairMultiplier);
  const std::pair<const char*, std::string> rows[] = {
      {"none", ""}, {first.name.c_str(), one}, {second.name.c_str(), other}, {"both", one + other}};
  print(exam.report, "\n| LoRAs, each at %g | %s: judge | measure | %s: judge | measure | thing right |\n|---|---|---|---|---|---|\n",
        kPairMultiplier, first.style.c_str(), second.style.c_str());
  std::vector<StyleShown> of_first, of_second;
  for (const auto& [name, tags] : rows) {
    const auto pictures = exam.studio.pictures(std::string("pair-") + name, wishes, tags);
    of_first.push_back(style_shown(exam, pictures, wishes, first.style));
    of_second.push_back(style_shown(exam, pictures, wishes, second.style));
    print(exam.report, "| %s | %.0f %% | %.3f | %.0f %% | %.3f | %.0f %% |\n", name, 100 * of_first.back().judged, of_first.back().measured,
          100 * of_second.back().judged, of_second.back().measured, 100 * of_first.back().things_right);
  }
  // On the way from what is without any LoRA to what the LoRA alone does, both have to be past the middle.
  const auto is_past_middle = [](const std::vector<StyleShown>& rows, size_t alone, size_t i) {
    const double way = rows[alone].each[i] - rows[0].each[i];
    return way != 0 && (rows[3].each[i] - rows[0].each[i]) / way > .5;
  };
  size_t mixed = 0;
  for (size_t i = 0; i < wishes.size(); ++i) mixed += is_past_middle(of_first, 1, i) && is_past_middle(of_second, 2, i);
  print(exam.report, "\nBoth styles are more than half there in %zu of %zu pictures.\n", mixed, wishes.size());
}

void report_subject(const Exam& exam, const std::string& lora, const std::string& subject) {
  print(exam.report, "\n## LoRA %s: the subject appears with its trigger\n", lora.c_str());
  if (!is_there(exam, exam.studio.has_lora(lora), "LoRA", lora)) return;
  const auto with_trigger = subject_wishes(exam.seeds, subject), without = single_wishes(exam.seeds);
  const int64_t wanted = with_trigger.at(0).facts[static_cast<size_t>(Fact::thing)];
  const auto seen = [&](const std::vector<Verdict>& verdicts) {
    return static_cast<size_t>(
        std::ranges::count_if(verdicts, [&](const Verdict& v) { return v.most_likely[static_cast<size_t>(Fact::thing)] == wanted; }));
  };
  const std::string tag = lora_tag(lora, 1);
  const auto both = exam.judge.judge(exam.studio.pictures("subject-both", with_trigger, tag));
  const auto only_lora = exam.judge.judge(exam.studio.pictures("subject-lora", without, tag));
  const auto only_words = exam.judge.judge(exam.studio.pictures("subject-words", with_trigger));
  const auto ideal = exam.judge.judge(painted(with_trigger));
  print(exam.report, "\n| | the judge sees the %s |\n|---|---|\n", subject.c_str());
  print(exam.report, "| LoRA and trigger (\"%s\") | %zu of %zu |\n", with_trigger[0].prompt().c_str(), seen(both), both.size());
  print(exam.report, "| LoRA without the trigger | %zu of %zu |\n", seen(only_lora), only_lora.size());
  print(exam.report, "| trigger without the LoRA | %zu of %zu |\n", seen(only_words), only_words.size());
  print(exam.report, "| painted | %zu of %zu |\n", seen(ideal), ideal.size());
  print(exam.report, "\nWith the LoRA and no trigger the asked thing is right in %zu of %zu pictures.\n",
        count_right(only_lora, asked_facts(without), has_thing), without.size());
}

void report_word(const Exam& exam, const Word& word) {
  print(exam.report, "\n## Embedding %s: a word for a %s %s\n", word.name.c_str(), word.colour.c_str(), word.thing.c_str());
  if (!is_there(exam, exam.studio.has_embedding(word.name), "embedding", word.name)) return;
  auto wishes = single_wishes(exam.seeds);
  for (Wish& wish : wishes) {
    const auto& group = wish.scene.groups.at(0);
    const std::string asked = std::string(painter::colours()[group.colour].name) + " " + std::string(group.thing->name);
    std::string caption = replace_all(wish.scene.caption, "an " + asked, "a " + asked);
    wish.scene.caption = replace_all(caption, asked, word.name);
    wish.facts[static_cast<size_t>(Fact::colour)] = index_named(painter::colours(), word.colour);
    wish.facts[static_cast<size_t>(Fact::thing)] = index_named(painter::things(), word.thing);
  }
  const auto verdicts = exam.judge.judge(exam.studio.pictures("word", wishes));
  const auto asked = asked_facts(wishes);
  print(exam.report, "\n| prompts like \"%s\" show | |\n|---|---|\n", wishes[0].prompt().c_str());
  for (const auto& [words, holds] : {Question{word.thing.c_str(), has_thing}, Question{word.colour.c_str(), has_colour},
                                     Question{"the asked setting", has_setting}, Question{"all three at once", has_all_three}})
    print(exam.report, "| %s | %zu of %zu |\n", words, count_right(verdicts, asked, holds), wishes.size());
}

}  // namespace lorikeet::demo
