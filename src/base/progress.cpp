#include "base/progress.h"

#include "base/error.h"

namespace lorikeet {

void Progress::check() const {
  if (cancelled_) throw Error(ErrorKind::cancelled, "cancelled");
}

}  // namespace lorikeet
