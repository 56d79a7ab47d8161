#include "prompt/composition.h"

#include <gtest/gtest.h>

#include "prompt/golden.h"

namespace lorikeet {

TEST(Composition, GivesThePartsAndWeightsOfTheWebui) {
  for (const auto& one : read_golden("and.json").at("cases")) {
    const auto input = one.at("input").get<std::string>();
    SCOPED_TRACE(input);
    const auto parts = split_composition(input);
    ASSERT_EQ(parts.size(), one.at("subprompts").size());
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_EQ(parts[i].text, one["subprompts"][i][0].get<std::string>());
      EXPECT_EQ(parts[i].weight, one["subprompts"][i][1].get<double>());
    }
  }
}

TEST(Composition, LineBreaksBelongToThePart) {
  const auto parts = split_composition("a\nb: 0.5 \n AND c\n:\n2");
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].text, "a\nb");
  EXPECT_EQ(parts[0].weight, 0.5);
  EXPECT_EQ(parts[1].text, " c");
  EXPECT_EQ(parts[1].weight, 2);
}

}  // namespace lorikeet
