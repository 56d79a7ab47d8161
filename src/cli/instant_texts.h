// The answers that need no engine (help, version, completion), for the small program in front of it: see launcher.cpp.
#pragma once
#include <iosfwd>

namespace lorikeet {

// Writes them as the rows of a C++ table, {"generate --help", "…"}.
void print_instant_texts(std::ostream& out);

}  // namespace lorikeet
