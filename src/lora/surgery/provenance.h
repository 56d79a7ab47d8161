// Where a file comes from: the metadata entry "lorikeet.history", a JSON list with one entry for each operation, the last one last. It
// names what was done, with which options, and from which files by their hashes (each with its own history), so that the last operation can
// be done again from the entry alone. No dates and no folders: the same operation on the same files gives the same file.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lorikeet {

using Metadata = std::map<std::string, std::string>;

inline constexpr const char* kHistory = "lorikeet.history";

// sha256 of a file, of large ones remembered (io/hash.h); of a folder in diffusers' layout: of its weight files' hashes in the order of
// their names.
std::string content_hash(const std::filesystem::path& path);
// An input as the history names it: {"name", "sha256"} and what else the operation wants to remember of it.
nlohmann::ordered_json history_input(const std::filesystem::path& path, const Metadata& metadata);

// The operations that a file went through; an empty list when it has none, or none that can be read.
nlohmann::ordered_json history_of(const Metadata& metadata);

// Adds {"operation", "program", "inputs", "options", "former"}. One input: the entry follows its history; several: each input keeps its own
// history inside of the entry. former: the entries of `before` that `metadata` has no longer or otherwise, so that nothing is lost.
void add_history(Metadata& metadata, const std::string& operation, std::vector<nlohmann::ordered_json> inputs,
                 nlohmann::ordered_json options, const Metadata& before = {});

// Removes what other programs say about the old tensors and would be wrong about the new ones; the hashes that the writer fills in are
// asked for.
void ask_for_hashes(Metadata& metadata);

// kohya's entries about rank and alpha, where the file has such entries: numbers when all modules agree, else "Dynamic" (as its
// resize_lora.py writes).
void note_ranks(Metadata& metadata, const std::map<int64_t, int>& ranks, const std::map<double, int>& alphas);

// Several files' metadata as one: entries that all have alike; tags, dataset folders and trigger words of all of them.
Metadata mixed_metadata(const std::vector<Metadata>& all);

}  // namespace lorikeet
