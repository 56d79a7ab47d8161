// How the index's functions reach the database: index.cpp and index_query.cpp only.
#pragma once
#include "library/index.h"

namespace lorikeet {

template <class Work>
auto Index::reading(Work&& work) {
  try {
    const std::lock_guard lock(reading_);
    return work(*reader_);
  } catch (const DamagedDatabase& damage) {
    rebuild(damage.what);
  }
}

template <class Work>
auto Index::writing(Work&& work) {
  try {
    const std::lock_guard lock(writing_);
    Transaction transaction(*writer_);
    if constexpr (std::is_void_v<decltype(work(*writer_))>) {
      work(*writer_);
      transaction.commit();
    } else {
      auto result = work(*writer_);
      transaction.commit();
      return result;
    }
  } catch (const DamagedDatabase& damage) {
    rebuild(damage.what);
  }
}

}  // namespace lorikeet
