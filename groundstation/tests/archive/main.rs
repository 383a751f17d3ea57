//! Commands that read an archive, as a user runs them: on one that is whole, damaged or gone.

mod station;
mod output;
mod damage;
mod replay;
mod mend;
mod contact;
mod away;
