#include "prompt/chunks.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "prompt/golden.h"
#include "prompt/tokenizer.h"

namespace lorikeet {

namespace {
void expect_chunks(const std::vector<PromptChunk>& chunks, const nlohmann::json& wanted) {
  ASSERT_EQ(chunks.size(), wanted.size());
  for (size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_EQ(chunks[i].ids, wanted[i].at("tokens").get<std::vector<int64_t>>());
    EXPECT_EQ(chunks[i].multipliers, wanted[i].at("multipliers").get<std::vector<double>>());
  }
}

EmbeddingStore store_of(std::initializer_list<std::pair<const char*, int64_t>> names_and_counts) {
  EmbeddingStore store({16});
  for (const auto& [name, count] : names_and_counts) store.add({name, "", {torch::ones({count, 16})}});
  return store;
}
}  // namespace

TEST(Chunks, GivesTheChunksOfTheWebui) {
  for (const auto& one : read_golden("chunks.json").at("cases")) {
    const auto input = one.at("input").get<std::string>();
    SCOPED_TRACE(input);
    const auto prompt = chunk_prompt(input);
    EXPECT_EQ(prompt.token_count, one.at("token_count").get<int64_t>());
    expect_chunks(prompt.chunks, one.at("chunks"));
    if (one.contains("chunks_no_comma_backtrack")) expect_chunks(chunk_prompt(input, {}, 0).chunks, one["chunks_no_comma_backtrack"]);
  }
}

TEST(Chunks, AnEmbeddingTakesAPlaceForEachVectorAndTheLongestNameWins) {
  const auto store = store_of({{"fox", 2}, {"fox style", 3}});
  const auto prompt = chunk_prompt("a (fox style:1.2), fox", store);
  ASSERT_EQ(prompt.chunks.size(), 1U);
  const auto& chunk = prompt.chunks[0];
  ASSERT_EQ(chunk.embeddings.size(), 2U);
  EXPECT_EQ(chunk.embeddings[0].embedding->name, "fox style");
  EXPECT_EQ(chunk.embeddings[0].at, 2);  // start, a
  EXPECT_EQ(chunk.embeddings[1].embedding->name, "fox");
  EXPECT_EQ(chunk.embeddings[1].at, 6);  // start, a, three vectors, comma
  EXPECT_EQ(chunk.multipliers[4], 1.2);
  EXPECT_EQ(chunk.ids[8], kEndToken);
  EXPECT_EQ(prompt.token_count, 7);
}

TEST(Chunks, AnEmbeddingIsNeverSplitBetweenChunks) {
  std::string text;
  for (int i = 0; i < 70; ++i) text += "cat ";
  const auto prompt = chunk_prompt(text + "fox", store_of({{"fox", 8}}));
  ASSERT_EQ(prompt.chunks.size(), 2U);
  EXPECT_TRUE(prompt.chunks[0].embeddings.empty());
  ASSERT_EQ(prompt.chunks[1].embeddings.size(), 1U);
  EXPECT_EQ(prompt.chunks[1].embeddings[0].at, 1);
}

TEST(Chunks, AnEmbeddingBehindTheLastCommaMovesWithItsTokens) {
  std::string text;
  for (int i = 0; i < 68; ++i) text += "cat ";
  const auto prompt = chunk_prompt(text + ", fox dog dog dog dog dog dog", store_of({{"fox", 3}}));
  ASSERT_EQ(prompt.chunks.size(), 2U);
  EXPECT_TRUE(prompt.chunks[0].embeddings.empty());
  ASSERT_EQ(prompt.chunks[1].embeddings.size(), 1U);
  EXPECT_EQ(prompt.chunks[1].embeddings[0].at, 1);
  for (const auto& chunk : prompt.chunks) EXPECT_EQ(chunk.ids.size(), 77U);
}

TEST(Chunks, PlainTextKeepsItsBracketsAsWords) {
  const auto plain = chunk_plain("fate (series), [red:blue:3] BREAK fox", store_of({{"fox", 2}}));
  ASSERT_EQ(plain.chunks.size(), 1U);
  auto ids = tokenize("fate (series), [red:blue:3] break ");
  const auto& chunk = plain.chunks[0];
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), chunk.ids.begin() + 1));
  ASSERT_EQ(chunk.embeddings.size(), 1U);
  EXPECT_EQ(chunk.embeddings[0].at, static_cast<int64_t>(ids.size()) + 1);
  EXPECT_EQ(chunk.ids[ids.size() + 3], kEndToken);
  EXPECT_EQ(std::count(chunk.multipliers.begin(), chunk.multipliers.end(), 1.0), kChunkSize);
  EXPECT_EQ(chunk_plain("").chunks.size(), 1U);
}

TEST(Embeddings, ThoseThatDoNotFitTheModelAreSkippedWithAReason) {
  EmbeddingStore store({768, 1280});
  store.add({"small", "", {torch::ones({1, 768})}});
  store.add({"both", "", {torch::ones({1, 1280}), torch::ones({1, 768})}});
  store.add({"", "", {torch::ones({1, 1280}), torch::ones({1, 768})}});
  store.add({"huge", "", {torch::ones({76, 1280}), torch::ones({76, 768})}});
  ASSERT_EQ(store.skipped().size(), 3U);
  EXPECT_NE(store.skipped()[0].reason.find("1280"), std::string::npos);
  const auto ids = tokenize("both");
  EXPECT_EQ(store.find(ids).embedding->name, "both");
  EXPECT_EQ(store.find(ids).embedding->vectors_for(768).size(1), 768);
  EXPECT_EQ(store.find(tokenize("small")).embedding, nullptr);
}

}  // namespace lorikeet
