// Access keys whose time begins with their first use: what the workers saw becomes the record's
// end.
#pragma once

#include <map>
#include <string>

#include "core/clock.hpp"
#include "jobs/catalog.hpp"
#include "store/store.hpp"

namespace kw::jobs {

// Control thread only. The store outlives it.
class first_uses {
  public:
    explicit first_uses(store::store& into) : store_(into) {}

    // The earliest time counts.
    void note(const std::string& access_key_id, wall_time at);
    // Gives each key noted its end. What the store does not take is offered again the next time.
    void write(const catalog& known);

  private:
    store::store& store_;
    std::map<std::string, wall_time> noted_;
};

}  // namespace kw::jobs
