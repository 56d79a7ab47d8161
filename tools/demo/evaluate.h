// The questions that the demo model is asked. Each writes a section of the report in Markdown.
#pragma once
#include <string>
#include <vector>

#include "demo/judge.h"
#include "demo/studio.h"

namespace lorikeet::demo {

// A LoRA, and the painter's style that it was taught.
struct Taught {
  std::string name, style;
};

// An embedding, and what it was taught to mean.
struct Word {
  std::string name, colour, thing;
};

struct Exam {
  Studio& studio;
  const Judge& judge;
  std::string& report;
  size_t seeds;   // pictures a question
  size_t ladder;  // pictures a multiplier
};

// How often the judge is right on paintings that it was not trained on.
void report_judge(const Exam& exam, size_t paintings);
// Thing, colour, setting; counts; places; combinations that training never showed.
void report_prompts(const Exam& exam);
// Does a style grow with the multiplier, and does the thing stay? A LoRA that is not there is named and passed over, here and below.
void report_style(const Exam& exam, const Taught& lora);
// Two LoRAs at once: what each alone does is there too.
void report_pair(const Exam& exam, const Taught& first, const Taught& second);
// A subject appears with LoRA and trigger word, and with neither alone.
void report_subject(const Exam& exam, const std::string& lora, const std::string& subject);
// A textual inversion: the word instead of thing and colour, in all settings.
void report_word(const Exam& exam, const Word& word);

}  // namespace lorikeet::demo
