// One look through the model folders: what is new, changed, gone; headers and sidecars of that are read in several threads and written into
// the index in batches.
#pragma once
#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "io/model_folders.h"
#include "library/index.h"

namespace lorikeet {

struct ScanJob {
  const ModelFolders& folders;
  Index& index;
  int threads = 1;                            // that read headers
  const std::atomic<bool>& stop;              // true: end soon, with the index in a sound state
  std::function<void()> changed;              // called after each batch that list() shows
};

struct ScanResult {
  std::vector<std::string> problems;  // for people, without the place's own path
};

// Error{io}: the index cannot be written.
ScanResult scan(const ScanJob& job);

// The place of `folders` that the file lies below; the longest, where they are within each other. "" for none.
std::string place_of(const ModelFolders& folders, const ModelFile& file);

// One file anew, for whoever has just changed its sidecars. Nothing when it cannot be found any more.
std::optional<IndexEntry> read_entry(const ModelFolders& folders, const ModelFile& file, const std::string& name);

}  // namespace lorikeet
