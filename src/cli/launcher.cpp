// The program "lorikeet" itself: gives help, version and completion at once, and becomes lorikeet-engine for everything else. Loading
// libtorch with all that it brings along takes some tenths of a second before main() begins; nobody should wait for that to read a help
// text. The texts are the engine's own, asked for when it was built.
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {
struct Text {
  std::string_view question, answer;
};
constexpr Text kTexts[] = {
#include "instant_texts.inc"
};

std::string folder_of_this_program() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  const std::string_view whole(path, length > 0 ? static_cast<size_t>(length) : 0);
  return std::string(whole.substr(0, whole.rfind('/') + 1));
}

// Asks glibc (2.35 and later) to take its memory in pages of 2 MB where the kernel offers them to who asks ("madvise", Debian's setting): a
// checkpoint's weights are then ready in half the time, because the kernel has 500 times fewer pages to hand out. It can only be asked for
// from outside, before the program starts. A person's own setting stays.
void ask_for_large_pages() {
  const char* set = std::getenv("GLIBC_TUNABLES");
  std::string tunables = set ? set : "";
  if (tunables.find("glibc.malloc.hugetlb=") != std::string::npos) return;
  tunables += (tunables.empty() ? "" : ":") + std::string("glibc.malloc.hugetlb=1");
  setenv("GLIBC_TUNABLES", tunables.c_str(), 1);
}

// Threads that wait for each other give up their core after some 30 µs instead of turning on it: with a training beside it, a picture would
// otherwise take minutes instead of seconds, because each program's threads wait for those that the other keeps from running.
void ask_for_short_waits() {
  if (!std::getenv("OMP_WAIT_POLICY")) setenv("GOMP_SPINCOUNT", "10000", /*overwrite=*/0);
}
}  // namespace

int main(int count, char** arguments) {
  std::string question;
  for (int i = 1; i < count; ++i) question += (i > 1 ? " " : "") + std::string(arguments[i]);
  for (const Text& text : kTexts) {
    if (text.question != question) continue;
    const bool written = std::fwrite(text.answer.data(), 1, text.answer.size(), stdout) == text.answer.size();
    return written && std::fflush(stdout) == 0 ? 0 : 1;
  }
  ask_for_large_pages();
  ask_for_short_waits();
  const std::string engine = folder_of_this_program() + "lorikeet-engine";
  execv(engine.c_str(), arguments);
  std::fprintf(stderr, "error: cannot start %s: %s\n  hint: it belongs beside this program; build or install Lorikeet again\n",
               engine.c_str(), std::strerror(errno));
  return 1;
}
