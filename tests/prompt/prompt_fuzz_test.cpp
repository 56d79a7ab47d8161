#include "prompt/prompt_fuzz.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace lorikeet {

TEST(PromptFuzz, AnyMixtureOfSyntaxAndBytesIsTaken) {
  const std::string pieces[] = {"(",        ")",
                                "[",        "]",
                                ":",        "|",
                                "\\",       "<",
                                ">",        "lora:",
                                "0.5",      "-3",
                                "1e9",      " AND ",
                                "BREAK",    ",",
                                "cat",      "\xC3",
                                "\xC3\xA9", "\xF0\x9F\x90\xB1",
                                "&amp;",    "\xC3\x83\xC2\xA9",
                                "\n",       "\x1B[3m",
                                "\xCE\xA3", "="};
  std::mt19937 random(7);
  for (int round = 0; round < 2'000; ++round) {
    std::string text;
    for (auto count = random() % 40; count > 0; --count) text += pieces[random() % std::size(pieces)];
    fuzz_prompt(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
  for (int round = 0; round < 300; ++round) {
    std::string text(random() % 60, '\0');
    for (char& c : text) c = static_cast<char>(random());
    fuzz_prompt(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
}

}  // namespace lorikeet
