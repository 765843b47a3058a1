"""Images: found under folders, decoded in order, labelled. Nothing here knows of models, views or torch."""
