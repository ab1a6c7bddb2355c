use stonework::jwt::{Algorithm, Keys, Verifier};

fn main() {
    let _ = Verifier::builder().keys(Keys::pending()).algorithms([Algorithm::Es256]);
}
